/** A change of one file. */
export interface Edit {
  /** From the root of the project. */
  readonly file: string;
  /** Must be there exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** A plausible bug, as a change of the sources. */
export interface Mutant extends Edit {
  readonly name: string;
  /** What else has to go, where one bug alone is made harmless by a second line of defence. */
  readonly also?: readonly Edit[];
  /** The first seed that is tried, for a bug that shows in one schedule of many thousands. */
  readonly from?: number;
}

const LEASE = "internal/kept_lease.ts";
const CLAIM = "internal/kept_claim.ts";
const STORE = "tests/simulation/store.ts";
const CLIENT = "tests/simulation/client.ts";
const QUEUES = "backends/shared/queue_lease.ts";
const OWN = "backends/shared/own_claim.ts";

/** Bugs that people make in lock libraries: the simulation has to find each. */
export const mutants: readonly Mutant[] = [
  {
    name: "deadline dated from the reply of an attempt",
    file: LEASE,
    find: "this.#prove(kept, this.#shared ? this.#acknowledged.since : sent);",
    replace: "this.#prove(kept, this.#shared ? this.#acknowledged.since : this.#core.alarms.now());",
  },
  {
    name: "deadline dated from the reply of a renewal",
    file: LEASE,
    find: "const since = this.#shared ? this.#acknowledged.since : sent;",
    replace: "const since = this.#core.alarms.now();",
  },
  {
    name: "deadline moved by the attempt where only the lease has a timer",
    file: LEASE,
    find: "this.#prove(kept, this.#shared ? this.#acknowledged.since : sent);",
    replace: "this.#prove(kept, sent);",
  },
  {
    name: "deadline dated from the answer to a lease's opening",
    file: LEASE,
    find: "const kept = new KeptLease(core, home, { ttl, opened }, (hear)",
    replace: "const kept = new KeptLease(core, home, { ttl, opened: alarms.now() }, (hear)",
  },
  {
    name: "renewal moved by a timeout",
    file: LEASE,
    find: "      this.#failures++;\n",
    replace: "      this.#failures++;\n      if (this.#shared) this.#acknowledged.add(started, started);\n" +
      "      for (const kept of this.#claims.values()) this.#prove(kept, started);\n",
  },
  {
    name: "a claim that a renewal leaves out counts as renewed",
    file: LEASE,
    find: "if (outcome === undefined) unproven.push(kept);",
    replace: "if (outcome === undefined) this.#prove(kept, since);",
  },
  {
    name: "a loss that a renewal reports is ignored",
    file: LEASE,
    find: 'if (outcome.state === "gone") return kept.lose(outcome.why);',
    replace: 'if (outcome.state === "gone") return this.#prove(kept, since);',
  },
  {
    name: "an old answer to a renewal revokes a lock granted since",
    file: LEASE,
    find: "outcome.token !== kept.token : sent >= kept.granted;",
    replace: "outcome.token !== kept.token : true;",
  },
  {
    name: "renewals count before they have settled",
    file: "internal/acknowledged.ts",
    find: "const settled = all.at(-1)!.sent - this.#settle;",
    replace: "const settled = Infinity;",
  },
  {
    name: "renewals settle from their sending on, not from their answer",
    file: "internal/acknowledged.ts",
    find: "answered: this.#settle === 0 ? sent : answered",
    replace: "answered: sent",
  },
  {
    name: "a claim that comes in during a renewal misses it",
    from: 103_000,
    file: LEASE,
    find: "if (kept.seen >= since) this.#prove(kept, since);",
    replace: ";",
  },
  {
    name: "a grant is taken after its deadline",
    file: CLAIM,
    find: "if (this.over || now >= this.#deadline) return false;",
    replace: "if (this.over) return false;",
  },
  {
    name: "the timer of the deadline does not ring",
    file: CLAIM,
    find: "if (!this.#expire()) this.#guard();",
    replace: "",
  },
  {
    name: "a signal that is read does not look at the clock",
    file: "internal/lock.ts",
    find: "checkWhenRead(this.#controller.signal, () => this.#check());",
    replace: "",
  },
  {
    name: "no room for drift",
    file: "internal/deadline.ts",
    find: "return ttl * (1 - DRIFT) - Math.min(SLACK.most, Math.max(ttl / 20, SLACK.least), ttl / 4);",
    replace: "return ttl;",
  },
  {
    name: "no look at the wall clock",
    file: "internal/clock.ts",
    find: "if (gained > JUMP) this.#suspended += gained;",
    replace: "",
  },
  {
    name: "a debt forgotten",
    file: LEASE,
    find: "    this.#debts.owe(kept, until);\n",
    replace: "",
  },
  {
    name: "an abandoned attempt is not withdrawn",
    file: LEASE,
    find: 'const asks = kept.progress !== "new" && !this.#isGone(kept);',
    replace: 'const asks = kept.progress === "entered" && !this.#isGone(kept);',
  },
  {
    name: "a lease reused after its deadline",
    file: LEASE,
    find: "(this.#debts.size === 0 && this.#core.alarms.now() < this.#acknowledged.since + this.#provenFor);",
    replace: "this.#debts.size === 0;",
  },
  {
    name: "waiting claims are not renewed",
    file: LEASE,
    find: "(renews || token === undefined) && !over",
    replace: "renews && token !== undefined && !over",
  },
  {
    name: "a lock that comes after its caller has given up is kept",
    file: "internal/acquisition.ts",
    find: "} else if (all !== undefined) return giveBack(all).then(() => this.#end());",
    replace: "}",
    also: [{
      file: "internal/acquisition.ts",
      find: "!this.#ended && kept.grant(outcome.token)",
      replace: "kept.grant(outcome.token)",
    }],
  },
  {
    name: "keys taken in the order in which they are named",
    file: "internal/acquisition.ts",
    find: "keys.toSorted((a, b) => a < b ? -1 : 1)",
    replace: "[...keys]",
  },
  {
    name: "of several keys, only the lost one is given up",
    file: "internal/lock.ts",
    find: "this.#rest = Promise.all(left.map(({ lease, kept }) => lease.withdraw(kept)));",
    replace: "{}",
  },
  {
    name: "a key that is to stay taken is given up with its lock",
    file: "internal/lock.ts",
    find: "if (this.#owner.last() < until) return lease.linger(kept, until);",
    replace: "",
  },
  {
    name: "a key that is to stay taken is not renewed",
    file: LEASE,
    find: 'stays.progress = "entered";',
    replace: 'stays.progress = "unsure";',
  },
  {
    name: "a key that is to stay taken is never given up",
    file: LEASE,
    find: "      void this.withdraw(stays);\n",
    replace: "",
  },
  {
    name: "one more may hold than the limit says",
    file: "internal/queue.ts",
    find: "if (index >= smallest) return index;",
    replace: "if (index > smallest) return index;",
  },
  {
    name: "only the predecessor watched",
    file: "internal/queue.ts",
    find: "if (index < k) return [];",
    replace: "if (index < k) return [];\n  return ahead.slice(0, 1);",
  },
  {
    name: "the queue not read again when the predecessor has left",
    file: CLIENT,
    find: 'await this.#ask<void>("watch", claim, (answer) => store.watch(ids, answer));',
    replace: 'await this.#ask<void>("watch", claim, (answer) => store.watch(ids, answer));\n' +
      '    return { state: "granted", token: this.#waiting.get(claim.id)!.token };',
  },
  {
    name: "a predecessor that left before the watch began is not noticed",
    file: STORE,
    find: "if (ids.some((id) => !this.#entries.has(id))) answer();\n    else ",
    replace: "",
  },
  {
    name: "steal keeps the waiters and their order numbers",
    file: STORE,
    find: "const ahead = queue.slice(0, -1);",
    replace: "const ahead = steal ? queue.slice(0, -1).filter(({ held }) => held) : [];\n" +
      "    if (steal) queue.unshift(queue.pop()!);",
  },
  {
    name: "release by name",
    file: STORE,
    find: "    const entry = this.#entries.get(claim.id);\n    if (entry === undefined) return false;\n",
    replace:
      "    const entry = this.#queues.get(claim.key)?.[0];\n    if (entry === undefined) return false;\n",
  },
  {
    name: "a repeated attempt enters once more",
    file: STORE,
    find: "    let entry = this.#entries.get(claim.id);\n    if (entry === undefined) {",
    replace: "    let entry = this.#entries.get(claim.id);\n" +
      "    if (entry === undefined || !claim.entered) {",
  },
  {
    name: "a late copy of an attempt enters after its withdrawal",
    file: STORE,
    find: '    this.#barred.set(claim.id, "revoked");\n    const entry',
    replace: "    const entry",
  },
  {
    name: "a repeated attempt enters again after it has expired",
    file: CLIENT,
    find: "latest: Math.min(store.time + timeout, last)",
    replace: "latest: store.time + timeout",
  },
  {
    name: "a late copy of a try enters",
    from: 34_000,
    file: STORE,
    find: '      this.#barred.set(id, "revoked");\n      return undefined;',
    replace: "      return undefined;",
  },
  {
    name: "who is next is not told",
    file: STORE,
    find: 'if (this.traits.push) this.#push(entry, { state: "granted", token: entry.token });',
    replace: "",
  },
  {
    name: "an attempt is counted when it is answered, not when it is sent",
    file: QUEUES,
    find: "    own.doubts++;\n    try {",
    replace: "    try {",
    also: [{
      file: QUEUES,
      find: "      own.doubts--;\n      return answer;",
      replace: "      return answer;",
    }],
  },
  {
    name: "an attempt whose answer was lost had no effect",
    file: QUEUES,
    find: "if (hadNoEffect(error)) own.doubts--;",
    replace: "own.doubts--;",
  },
  {
    name: "copies of an attempt are not counted",
    file: QUEUES,
    find: "await attempt(() => own.doubts++);",
    replace: "await attempt(() => {});",
  },
  {
    name: "an attempt is sent again after its withdrawal",
    file: QUEUES,
    find: "if (own.withdrawn || this.#ended) {\n      throw",
    replace: "if (this.#ended) {\n      throw",
  },
  {
    name: "a claim that was never seen in the store is withdrawn without a word",
    file: QUEUES,
    find: "(own.token !== undefined || own.doubts > 0) && await",
    replace: "own.token !== undefined && await",
  },
  {
    name: "what a thief has taken out is not fenced",
    file: QUEUES,
    find: '    own.outcome = { state: "gone", why };\n    this.#finishBehind(own);',
    replace: '    own.outcome = { state: "gone", why };\n    this.#drop(own);',
  },
  {
    name: "what a renewal finds gone is not fenced",
    file: QUEUES,
    find: '        if (outcome.state === "gone") this.#finishBehind(own);\n      }',
    replace: '        if (outcome.state === "gone") this.#drop(own);\n      }',
  },
  {
    name: "a fence that failed is not tried again",
    from: 11_000,
    file: QUEUES,
    find: "    for (const own of this.#unfinished) this.#finishBehind(own);\n",
    replace: "",
  },
  {
    name: "a claim that does not wait keeps the place that it has entered",
    file: QUEUES,
    find:
      'if (own.withdrawn || outcome.state === "granted" || outcome.state === "contended" && claim.wait) {',
    replace: 'if (outcome.state !== "gone") {',
  },
  {
    name: "an answer that came too late undoes what has been asked for again",
    file: QUEUES,
    find: "      call.signal.throwIfAborted();\n",
    replace: "",
  },
  {
    name: "of two entries the older one counts",
    file: QUEUES,
    find: "if (own.token !== undefined && found.token < own.token) return own.outcome ?? GONE;",
    replace: "",
  },
  {
    name: "an entry is forgotten because an earlier one is gone",
    from: 200_000,
    file: QUEUES,
    find: "if (own.token === token) own.token = undefined;",
    replace: "own.token = undefined;",
  },
  {
    name: "a claim that was acknowledged and is gone enters anew",
    file: QUEUES,
    find: "return this.#ended || entered || this",
    replace: "return this.#ended || this",
  },
  {
    name: "a number is used again while a copy that bears it may be under way",
    file: OWN,
    find: "if (own.doubts > 0 || own.fenced) numbers.set(own.number, undefined);\n    else if (",
    replace: "if (",
  },
  {
    name: "who waits for a claim of its own process is not woken",
    file: OWN,
    find: "    for (const wake of own.waiting ?? []) wake(own);\n",
    replace: "",
  },
  {
    name: "one that has given up counts as one that has held",
    file: OWN,
    find: 'return claim.limit === 1 && outcome?.state === "granted";',
    replace: "return claim.limit === 1;",
  },
  {
    name: "one that has held beside others counts as one that has held alone",
    file: OWN,
    find: 'return claim.limit === 1 && outcome?.state === "granted";',
    replace: 'return outcome?.state === "granted";',
  },
  {
    name: "all who stand behind one that has held alone inherit",
    file: QUEUES,
    find: "own.next = holders(behind) === behind.length;",
    replace: "own.next = true;",
  },
  {
    name: "the end of one that was waited for before counts for whom is waited for now",
    file: QUEUES,
    find: "if (left === undefined || own.ahead !== ahead) return;",
    replace: "if (left === undefined) return;",
    also: [{
      file: QUEUES,
      find: "own.inherits = next && heldAlone(left);",
      replace: "own.inherits = own.next && heldAlone(left);",
    }],
  },
];
