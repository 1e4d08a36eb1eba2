/** What a lock in this ZooKeeper is worth. */
import { zookeeper } from "../zookeeper.ts";
import { refused } from "../shared/errors.ts";
import {
  type Checkup,
  duration,
  type Examination,
  type Finding,
  good,
  inTime,
  isBefore,
  note,
  probe,
  refusedFor,
  together,
  unsafe,
  unseen,
} from "../shared/doctor.ts";
import { settingsOf, type ZooKeeperOptions } from "./address.ts";
import type { Connection } from "./client/connection.ts";
import { dial } from "./client/dial.ts";
import { code, failedWith, refused as refusal } from "./client/errors.ts";
import { fourLetters } from "./client/four_letters.ts";
import { closeSession, exists, type Hello } from "./client/operations.ts";
import { hostAndPort, type Server } from "./client/servers.ts";
import type { Settings } from "./client/settings.ts";

/** What a server says of itself, as far as it does. */
interface Told {
  /** The answer to `srvr`. */
  readonly server: Readonly<Record<string, string>> | undefined;
  /** The answer to `conf`. */
  readonly config: Readonly<Record<string, string>> | undefined;
}

/** Series before it are mended by their makers no longer. */
const MENDED = "3.8";

/** With a ttl of fewer ticks, a pause of half of it can cost the lock. */
const TICKS = 10;

/** Milliseconds: the longest session that can be asked for. */
const LONGEST = 2 ** 31 - 1;

/** Asks each server that is named, and opens sessions to see how long they may be. */
export async function* examine(options: ZooKeeperOptions, checkup: Checkup): Examination {
  const settings = settingsOf(options);
  const { servers, chroot } = await settings.locate();
  const told = new Map<string, Told>();
  const failures: Finding[] = [];
  for (const server of servers) {
    const at = hostAndPort(server);
    try {
      told.set(at, await inTime(`ask the ZooKeeper server at ${at}`, checkup, ask(server, checkup)));
    } catch (error) {
      failures.push(note("servers", `${at}: ${(error as Error).message}.`));
    }
  }
  if (told.size === 0) throw refused("ask ZooKeeper", failures.map(({ says }) => says).join(" "));
  yield* failures;
  yield* together(new Map([...told].map(([at, one]) => [at, judged(one, settings)])));
  yield ensemble([...told.values()], servers.length);
  try {
    yield* sessions(settings, checkup);
    if (chroot !== "") yield await folder(chroot, settings, checkup);
  } catch (error) {
    return yield refusedFor("access", refusal("use ZooKeeper", error));
  }
  yield* probe(zookeeper(options), checkup);
}

async function ask(server: Server, { timeout }: Checkup): Promise<Told> {
  return {
    server: await fourLetters("srvr", server, timeout),
    config: await fourLetters("conf", server, timeout),
  };
}

function judged({ server, config }: Told, { tickTime }: Settings): Finding[] {
  const version = /\d+(\.\d+)+/.exec(server?.["Zookeeper version"] ?? "")?.[0];
  return [
    version === undefined
      ? unseen("version", "the server does not answer srvr (4lw.commands.whitelist)")
      : versionFinding(version),
    config?.tickTime === undefined
      ? unseen("tickTime", "the server does not answer conf (4lw.commands.whitelist)")
      : tickFinding(Number(config.tickTime), tickTime),
  ];
}

function versionFinding(version: string): Finding {
  const found = `This is ZooKeeper ${version}`;
  if (isBefore(version, "3.5")) return unsafe("version", `${found}: 3.5 or later is needed.`);
  if (!isBefore(version, MENDED)) return good("version", `${found}.`);
  return note("version", `${found}: its makers mend only ${MENDED} and later.`);
}

/** By so much a follower is late in telling its leader that a session is alive. */
function tickFinding(theirs: number, ours: number): Finding {
  if (theirs <= ours) {
    return good("tickTime", `It is ${duration(theirs)}, and not more than is reckoned with.`);
  }
  const then = "a holder may believe for a moment too long, should its follower be cut off";
  const say = `Say ?tickTime=${theirs}`;
  return unsafe(
    "tickTime",
    `It is ${duration(theirs)}, and ${duration(ours)} is reckoned with: ${then}. ${say}.`,
  );
}

function ensemble(told: readonly Told[], named: number): Finding {
  const modes = told.map(({ server }) => server?.Mode);
  if (modes.includes("standalone")) {
    return note("failover", "There is one server: nobody is given a lock while it is away.");
  }
  const voters = modes.filter((mode) => mode === "leader" || mode === "follower").length;
  const serve = `Of ${named} servers that are named, ${voters} vote`;
  if (!modes.includes("leader")) return note("failover", `${serve}, and none of them leads.`);
  return good("failover", `${serve}. A failover keeps every lock while more than half of all are there.`);
}

/** Asks for the shortest and the longest session there is, and ends both. */
async function* sessions(settings: Settings, checkup: Checkup): Examination {
  const shortest = await granted(1, settings, checkup);
  const longest = await granted(LONGEST, settings, checkup);
  const { ttl } = checkup;
  const range = `this ensemble grants ${duration(shortest)} to ${duration(longest)}`;
  if (ttl < shortest || ttl > longest) {
    const becomes = duration(ttl < shortest ? shortest : longest);
    yield note("ttl", `A ttl of ${duration(ttl)} becomes ${becomes}: ${range}.`);
  } else yield good("ttl", `A ttl of ${duration(ttl)} is granted: ${range}.`);
  const wise = TICKS * settings.tickTime;
  if (ttl < wise) {
    yield note(
      "ttl",
      `With less than ${TICKS} ticks (${duration(wise)}), a pause of half of it can cost the lock.`,
    );
  }
}

async function granted(timeout: number, settings: Settings, checkup: Checkup): Promise<number> {
  using asked = await open(timeout, settings, checkup);
  const { timeout: given } = asked.connection.welcome;
  await asked.connection.request(closeSession).catch(() => {}); // the server may hang up before it answers
  return given;
}

/** The folder is made by the first lock, if the user may. */
async function folder(chroot: string, settings: Settings, checkup: Checkup): Promise<Finding> {
  using asked = await open(checkup.ttl, settings, checkup);
  try {
    await asked.connection.request(exists(chroot, false));
    return good("chroot", `The folder ${chroot} is there.`);
  } catch (error) {
    if (!failedWith(error, code.noNode)) throw error;
    return note("chroot", `There is no folder ${chroot} yet: it is made by the first lock.`);
  } finally {
    await asked.connection.request(closeSession).catch(() => {});
  }
}

async function open(
  timeout: number,
  settings: Settings,
  { timeout: patience, signal }: Checkup,
): Promise<{ readonly connection: Connection } & Disposable> {
  const hello = (): Hello => ({ lastZxid: 0n, timeout, session: 0n, password: new Uint8Array(16) });
  const listener = { event() {}, ended() {} };
  try {
    const { connection } = await dial({ settings, hello, timeout: patience, listener, signal });
    return { connection, [Symbol.dispose]: () => connection.destroy() };
  } catch (error) {
    const known = refusal("use ZooKeeper", error);
    throw known === error
      ? refused("open a session on ZooKeeper", (error as Error).message, {}, error)
      : known;
  }
}
