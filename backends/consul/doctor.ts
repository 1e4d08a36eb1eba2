/** What a lock in this Consul is worth. */
import { consul } from "../consul.ts";
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
  unsafe,
  unseen,
} from "../shared/doctor.ts";
import { type ConsulOptions, settings } from "./address.ts";
import { noAnswer } from "./client/errors.ts";
import { boundsOf, ConsulHttp } from "./client/http.ts";
import type { Reply } from "./client/reply.ts";

/** What an agent tells of itself, as far as it is used. */
interface Self {
  readonly Config: { readonly Version: string; readonly Server: boolean; readonly NodeName: string };
  readonly DebugConfig?: { readonly SessionTTLMin?: string };
}

/** How the servers are, by their own word. */
interface Health {
  readonly Healthy: boolean;
  readonly FailureTolerance: number;
}

/** Reads what the agent answers; `undefined` if the token does not allow to ask. */
type Ask = <T>(path: string) => Promise<T | undefined>;

/** Asks the agent about itself and its servers. */
export async function* examine(target: string, options: ConsulOptions, checkup: Checkup): Examination {
  const http = new ConsulHttp(settings(target, options));
  const ask: Ask = <T>(path: string) =>
    inTime(
      `ask the Consul agent for ${path}`,
      checkup,
      http.ask({
        method: "GET",
        path,
        bounds: boundsOf(checkup),
        read: (reply) => answer<T>(path, reply, http.hide(reply.text.trim()).slice(0, 200)),
      }),
    );
  try {
    yield* agent(await ask<Self>("agent/self"), checkup.ttl);
    yield* servers(await ask<string>("status/leader"), await ask<string[]>("status/peers"));
    // Only a leader knows: without one, the agent has said so above.
    yield health(await ask<Health>("operator/autopilot/health").catch(() => undefined));
  } catch (error) {
    return yield refusedFor("access", error);
  } finally {
    http.close();
  }
  const after = `a holder that dies leaves its lock for up to ${duration(2 * checkup.ttl)}`;
  yield note("expiry", `Consul ends a session as late as twice its ttl: ${after}.`);
  yield* probe(consul(target, options), checkup);
}

/** One that is unhealthy says so with 429. */
function answer<T>(path: string, reply: Reply, said: string): T | undefined {
  if (reply.status === 403) return undefined;
  if (reply.status !== 200 && reply.status !== 429) throw noAnswer(`ask for ${path}`, reply.status, said);
  try {
    return JSON.parse(reply.text);
  } catch {
    throw noAnswer(`ask for ${path}`, reply.status, said);
  }
}

function agent(self: Self | undefined, ttl: number): Finding[] {
  if (self === undefined) {
    return [unseen("agent", 'its version and settings are told to who has agent "read"')];
  }
  const { Version, Server, NodeName } = self.Config;
  const found = `This is Consul ${Version}`;
  const version = isBefore(Version, "1.8")
    ? unsafe("version", `${found}: 1.8 or later is needed.`)
    : good("version", `${found}.`);
  const kind = Server ? "a server" : "a client";
  const lives = `sessions belong to the node ${NodeName}, and end when it leaves the catalog`;
  return [version, good("agent", `It is ${kind}: ${lives}.`), ...limit(self.DebugConfig?.SessionTTLMin, ttl)];
}

/** `session_ttl_min`, in Go's words, such as "10s" or "1m0s". */
function limit(least: string | undefined, ttl: number): Finding[] {
  const [, hours = 0, minutes = 0, seconds = 0] =
    /^(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?$/.exec(least ?? "") ?? [];
  const ms = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000;
  if (ttl >= ms) return [];
  return [unsafe("ttl", `A ttl of ${duration(ttl)} is refused: session_ttl_min is ${duration(ms)}.`)];
}

function servers(leader: string | undefined, peers: readonly string[] | undefined): Finding[] {
  const findings: Finding[] = [];
  if (leader === "") findings.push(unsafe("leader", "There is none: nobody is given a lock."));
  if (peers === undefined) return [...findings, unseen("failover", "this token may not ask for the servers")];
  const away = Math.max(0, Math.ceil(peers.length / 2) - 1);
  const says = `Servers: ${peers.length}. A failover keeps every lock, and ${away} may be away`;
  if (peers.length < 3) findings.push(note("failover", `${says}: use three or five.`));
  else if (peers.length % 2 === 0) findings.push(note("failover", `${says}, as of ${peers.length - 1}.`));
  else findings.push(good("failover", `${says}.`));
  return findings;
}

function health(said: Health | undefined): Finding {
  if (said === undefined) return unseen("health", 'the leader tells it to who has operator "read"');
  if (said.Healthy) return good("health", "All servers are well.");
  return note("health", `Not all servers are well: ${said.FailureTolerance} more may be lost.`);
}
