/** What a lock in this etcd is worth. */
import { BackendError } from "../../internal/errors.ts";
import { etcd } from "../etcd.ts";
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
import { type EtcdOptions, readTarget } from "./address.ts";
import type { Target } from "./client/client.ts";
import { EtcdError, refusal } from "./client/errors.ts";
import { Member } from "./client/member.ts";
import type { MemberListResponse, StatusResponse } from "./client/messages.ts";
import { ETCD_TRAITS } from "./traits.ts";

/** What a member has told. */
interface Told {
  readonly status: StatusResponse;
  /** `undefined` if the user may not know. */
  readonly members: MemberListResponse["members"] | undefined;
  /** Milliseconds that the shortest lease lasts; `undefined` if it gave none. */
  readonly shortest: number | undefined;
}

/** Bytes that a database may have unless told otherwise; members tell their own since 3.6. */
const QUOTA = 2 * 2 ** 30;

/** The first of each series without etcd's issue 15247. */
const MENDED: readonly (readonly [series: string, version: string])[] = [["3.4", "3.4.31"], [
  "3.5",
  "3.5.13",
]];

/** Asks each member that is named. */
export async function* examine(options: EtcdOptions, checkup: Checkup): Examination {
  const target = readTarget(options) as Target;
  const told = new Map<string, Told>();
  const failures = new Map<string, unknown>();
  for (const origin of await target.locate()) {
    try {
      told.set(origin, await inTime(asking(origin), checkup, ask(origin, target, checkup)));
    } catch (error) {
      failures.set(origin, error);
    }
  }
  if (told.size === 0) return yield refusedFor("access", [...failures.values()][0]);
  for (const error of failures.values()) yield note("members", `${(error as Error).message}.`);
  yield* together(new Map([...told].map(([origin, { status }]) => [origin, judged(status)])));
  const [{ members, shortest }] = [...told.values()] as [Told];
  yield membersFinding(members);
  if (shortest !== undefined && shortest > checkup.ttl && checkup.ttl >= ETCD_TRAITS.minTtl) {
    const why = "one and a half election timeouts, in whole seconds";
    yield note(
      "ttl",
      `A ttl of ${duration(checkup.ttl)} becomes ${duration(shortest)}, the shortest (${why}).`,
    );
  }
  yield* probe(etcd(options), checkup);
}

async function ask(origin: string, { credentials, user }: Target, checkup: Checkup): Promise<Told> {
  const { timeout } = checkup;
  const member = new Member(origin, credentials, user, { broke() {}, leaving() {} });
  const over = AbortSignal.any([checkup.signal, AbortSignal.timeout(timeout)]);
  over.addEventListener("abort", () => member.close());
  try {
    await member.ready;
    const status = await member.call("status", {}, { timeout });
    const members = await member.call("memberList", {}, { timeout }).then((list) => list.members, notAllowed);
    const lease = await member.call("leaseGrant", { TTL: 1 }, { timeout }).catch(notAllowed);
    if (lease !== undefined) await member.call("leaseRevoke", { ID: lease.ID }, { timeout });
    return { status, members, shortest: lease && Number(lease.TTL) * 1_000 };
  } catch (error) {
    if (error instanceof BackendError) throw error;
    const known = refusal(error, { user: user?.username, prefix: undefined });
    throw known ?? refused(asking(origin), (error as Error).message, {}, error);
  } finally {
    member.close();
  }
}

function asking(origin: string): string {
  return `ask the etcd member at ${origin}`;
}

/** For `catch`: what etcd itself refuses, or cannot do now, as opposed to a connection that broke. */
function notAllowed(error: unknown): undefined {
  if (error instanceof EtcdError && error.message.startsWith("etcdserver: ")) return undefined;
  throw error;
}

function judged({ version, errors, leader, dbSize, dbSizeQuota }: StatusResponse): Finding[] {
  const findings = [versionFinding(version)];
  if (leader === "0") findings.push(unsafe("leader", "It knows no leader: nobody is given a lock."));
  for (const error of errors.filter((error) => !/no leader/.test(error))) findings.push(alarm(error));
  const quota = dbSizeQuota === "0" ? QUOTA : Number(dbSizeQuota);
  const share = Math.round(Number(dbSize) / quota * 100);
  const size = `${share} % of ${dbSizeQuota === "0" ? "the usual quota of 2 GiB" : "its quota"}`;
  findings.push(
    share < 80 ? good("size", `The database has ${size}.`) : note(
      "size",
      `The database has ${size}: beyond it, nobody is given a lock. Compact and defragment it.`,
    ),
  );
  return findings;
}

function versionFinding(version: string): Finding {
  if (isBefore(version, "3.4")) return unsafe("version", `This is etcd ${version}: 3.4 or later is needed.`);
  const mended = MENDED.find(([series]) => version.startsWith(`${series}.`))?.[1];
  if (mended === undefined || !isBefore(version, mended)) return good("version", `This is etcd ${version}.`);
  const fault =
    "a leader that was stopped and goes on may revoke leases that were renewed meanwhile (issue 15247)";
  return unsafe("version", `This is etcd ${version}: ${fault}. Use ${mended} or later.`);
}

function alarm(said: string): Finding {
  if (!/NOSPACE/.test(said)) return unsafe("alarm", `It reports ${said}.`);
  const then = "compact and defragment it, then etcdctl alarm disarm";
  return unsafe("alarm", `Its database is full (NOSPACE), so that nobody is given a lock: ${then}.`);
}

function membersFinding(members: Told["members"]): Finding {
  if (members === undefined) return unseen("failover", "this user may not list the members");
  const voters = members.filter(({ isLearner }) => !isLearner).length;
  const away = Math.ceil(voters / 2) - 1;
  const says = `Members: ${voters}. A failover keeps every lock, and ${away} may be away`;
  if (voters < 3) return note("failover", `${says}: use three or five.`);
  return voters % 2 === 0 ? note("failover", `${says}, as of ${voters - 1}.`) : good("failover", `${says}.`);
}
