/** What somebody meant who gave an option that there is not. */

/**
 * What the options of other lock libraries are here, by their names in lower case without "_", "-" and units.
 * `$` is the number that was given.
 */
const MEANINGS: readonly (readonly [meaning: string, names: string])[] = [
  [
    "give signal: AbortSignal.timeout($) to end the waiting after a time",
    "timeout acquiretimeout acquisitiontimeout acquisitionwait waittime waittimeout waitlimit waitfor maxwait " +
    "maxwaittime blockingtimeout blocktimeout locktimeout lockwait lockwaittime deadline maxpending " +
    "maxoccupationtime maxexecutiontime queuetimeout",
  ],
  [
    "tryAcquire does not wait, nor does request with ifAvailable",
    "wait waits blocking block nonblocking nowait noblock dontwait immediate failimmediate failimmediately " +
    "failfast try trylock tryonce locktryonce ifavailable skiplocked",
  ],
  [
    "ttl is how long the store keeps the lock of a holder that has gone, in milliseconds",
    "expiry expire expires expiration expiresin expiresafter expirein expireafter expirytime expirationtime " +
    "lease leasetime leaseduration leasettl duration lockttl lockduration locktime lockatmostfor atmost " +
    "atmostfor maxage maxduration lifetime timetolive sessionttl sessiontimeout px ex pexpire stale " +
    "visibilitytimeout",
  ],
  [
    "nothing polls here: retryFor of the manager is how long failed calls are repeated, in milliseconds",
    "retry retries retrycount retrylimit retrydelay retryinterval retryjitter retrytimeout retrytime " +
    "retrybackoff retrystrategy retryafter maxretries maxretry maxattempts maxtries attempts tries " +
    "acquireattempts acquireattemptslimit poll polling pollinterval pollrate interval backoff delay jitter sleep",
  ],
  [
    "a lock is renewed until it is released, unless renew is false",
    "autorenew autorenewal autoextend autoextension automaticextensionthreshold autorefresh extend extension " +
    "renewal renewinterval renewtime renewevery refresh refreshinterval refreshtime refreshevery lockrefresh " +
    "keepalive keepaliveinterval heartbeat heartbeatinterval watchdog watchdogtimeout update",
  ],
  [
    "limit is how many may hold it at once",
    "concurrency maxconcurrency maxconcurrent maxconcurrentholders max maximum maxholders maxcount count size " +
    "permits slots leases tickets capacity semaphore",
  ],
  [
    'readers give mode: "shared"',
    "shared share sharedlock read reader readonly readlock exclusive exclusivelock write writer writelock type locktype",
  ],
  [
    "metadata is what others see of the holder",
    "data value payload contents content lockcontents lockdata info information owner ownerid holder holderid " +
    "identity identifier id uuid clientid description label tag tags comment meta",
  ],
  ["steal: true takes the lock from its holder", "force takeover takelock override overwrite preempt"],
  [
    "signal is the AbortSignal that ends the waiting",
    "abort aborted reason onabort abortsignal abortcontroller cancel cancellation canceltoken cancellationtoken " +
    "controller ct",
  ],
  [
    "atLeast is how long the key stays taken after the grant, in milliseconds",
    "lockatleastfor atleastfor minhold minholdtime mintime minduration minlocktime",
  ],
  [
    "prefix of the manager stands before every key",
    "prefix keyprefix lockprefix pathprefix namespace basepath basekey rootpath root scope",
  ],
  ["retryFor is an option of the manager", "retryfor"],
  ["that is an option of the manager", "logger clock random"],
  ["that is an option of each acquisition", "mode limit renew signal steal atleast"],
  ["logger of the manager is told what happens", "log logging logs loglevel debug verbose"],
  [
    "events and the signal of a lock tell what becomes of it",
    "onlost onlocklost onlose onacquire onacquired onlockacquired onrelease onreleased onerror onrenew onrenewed " +
    "onexpire onexpired oncompromised onwaiting",
  ],
  ["locks are not reentrant", "reentrant domainreentrant domain recursive"],
  ["the keys are the first argument", "key keys resource resources name lockname lockkey"],
  [
    "that is for the backend, as in redis({ host })",
    "url uri host hosts hostname port path address endpoint endpoints server servers connection client redis " +
    "user username password auth tls db",
  ],
];

const UNIT = /(ms|msecs?|millis|milliseconds?|secs?|seconds?)$/;

/** What is meant by an option that `known` does not have, or `undefined` if nobody can tell. */
export function meant(name: string, value: unknown, known: readonly string[]): string | undefined {
  const said = simple(name);
  const bare = said.replace(UNIT, "");
  for (const word of [said, bare]) {
    const same = known.find((each) => simple(each) === word);
    if (same !== undefined) return `did you mean ${JSON.stringify(same)}?`;
    const meaning = meaningOf(word, value);
    if (meaning !== undefined) return meaning;
  }
  return closest(name, known) ?? meaningOf(nearest(bare, WORDS), value);
}

/** The known option that `name` is a slip of the pen of, as a question. */
export function closest(name: string, known: readonly string[]): string | undefined {
  const said = simple(name);
  const near = nearest(said, known.map(simple));
  const found = known.find((each) => simple(each) === near);
  return found === undefined ? undefined : `did you mean ${JSON.stringify(found)}?`;
}

const WORDS: readonly string[] = MEANINGS.flatMap(([, names]) => names.split(" "));

function meaningOf(word: string | undefined, value: unknown): string | undefined {
  const found = word !== undefined && MEANINGS.find(([, names]) => names.split(" ").includes(word));
  if (!found) return undefined;
  const number = typeof value === "number" && value > 0 && Number.isFinite(value) ? `${value}` : "5_000";
  return found[0].replace("$", number);
}

/** The one that is a few wrong letters away; of two, the closer one. */
function nearest(word: string, words: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = word.length < 4 ? 1 : word.length < 6 ? 2 : 3;
  for (const each of words) {
    const away = distance(word, each);
    if (away < least) [best, least] = [each, away];
  }
  return best;
}

/** Letters to add, drop, change, or swap with their neighbour. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return Infinity;
  const rows = [Array.from({ length: b.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = rows[i - 1]![j - 1]! + Number(a[i - 1] !== b[j - 1]);
      const isSwap = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? rows[i - 2]![j - 2]! + 1 : Infinity;
      row.push(Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, changed, swapped));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}

function simple(name: string): string {
  return name.toLowerCase().replaceAll(/[\s_-]/g, "");
}
