/** What a lock in this Redis is worth. */
import { isIP } from "node:net";
import type { RedisOptions } from "ioredis";
import { redis } from "../redis.ts";
import {
  type Checkup,
  type Examination,
  type Finding,
  good,
  note,
  probe,
  refusedFor,
  together,
  unsafe,
  unseen,
} from "../shared/doctor.ts";
import type { ClusterAddress } from "./client/cluster_link.ts";
import { destination, place, type RedisAddress } from "./client/destination.ts";
import { written } from "./client/endpoint.ts";
import { redisError } from "./client/errors.ts";
import { type Inquiry, notAllowed } from "./client/inquiry.ts";
import { list, text } from "./client/replies.ts";
import { ask, factsOf } from "./doctor/ask.ts";
import { clocksApart, judged, RULES } from "./doctor/rules.ts";

/** Looks at the server, the master that Sentinels name and these, or all masters of a Cluster. */
export async function* examine(address: RedisAddress, checkup: Checkup): Examination {
  const to = destination(address);
  try {
    if ("cluster" in to) yield* cluster(to.cluster, checkup);
    else yield* server(to.server, place(to), checkup);
  } catch (error) {
    return yield refusedFor("access", redisError(`ask Redis at ${place(to)}`, error));
  }
  yield* probe(redis(address, { rememberFor: 1_000 }), checkup);
}

async function* server(options: RedisOptions, at: string, checkup: Checkup): Examination {
  const facts = await ask(options, at, checkup, factsOf);
  if (facts.info?.cluster_enabled === "1") {
    const instead = "write redis+cluster: with some of its nodes";
    yield unsafe("cluster", `This server is part of a Cluster: ${instead}.`);
  }
  yield* judged(facts, RULES);
  if (options.sentinels) yield* sentinels(options, checkup);
}

/** Each Sentinel that was named is asked by itself. */
async function* sentinels(options: RedisOptions, checkup: Checkup): Examination {
  const { name = "", sentinelUsername, sentinelPassword, sentinelTLS, connectTimeout } = options;
  const login = { username: sentinelUsername, password: sentinelPassword, tls: sentinelTLS, connectTimeout };
  const found = new Map<string, readonly Finding[]>();
  for (const one of options.sentinels!) {
    const at = written(one as { host: string; port: number });
    try {
      const server = { ...login, host: one.host!, port: one.port! };
      found.set(at, await ask(server, at, checkup, (asked) => sentinel(asked, name)));
    } catch (error) {
      found.set(at, [note("sentinels", `${(error as Error).message}.`)]);
    }
  }
  yield* together(found);
}

async function sentinel(asked: Inquiry, name: string): Promise<Finding[]> {
  const said = await asked.ask("SENTINEL", "MASTER", name).catch(notAllowed);
  if (said === undefined) {
    return [unseen("sentinels", "the user at the Sentinels may not ask (grant +sentinel|master)")];
  }
  const known = pairs(said);
  const count = 1 + Number(known["num-other-sentinels"]);
  const enough = await asked.ask("SENTINEL", "CKQUORUM", name).then(() => true, (error: Error) => {
    if (/NOQUORUM/.test(error.message)) return false;
    return notAllowed(error);
  });
  const findings = [
    count < 3
      ? note("sentinels", `There are ${count}: three are needed for a failover when one is lost.`)
      : good("sentinels", `There are ${count}, and ${known.quorum} have to agree that the master is away.`),
  ];
  if (enough === false) findings.push(note("sentinels", "Too few of them answer each other for a failover."));
  return findings;
}

/** A map: a name and its value, in turn. */
function pairs(said: unknown): Record<string, string> {
  const all = list(said, 0).map(text);
  return Object.fromEntries(all.flatMap((name, n) => n % 2 === 0 ? [[name, all[n + 1]!]] : []));
}

/** How many slots a Cluster has. */
const SLOTS = 16_384;

/** Slots in a row, and the nodes that serve them, the master first. */
type Range = readonly [from: number, to: number, master: Place, ...replicas: Place[]];
type Place = readonly [host: string, port: number, ...rest: unknown[]];

/** The masters, as one of the nodes tells them. */
async function* cluster(address: ClusterAddress, checkup: Checkup): Examination {
  const { ranges, isUp } = await anyOf(address, checkup);
  const served = ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  if (served < SLOTS || !isUp) {
    yield unsafe("cluster", `It is not whole: ${served} of ${SLOTS} slots are served.`);
  }
  const masters = new Map(ranges.map(([, , [host, port]]) => [written({ host, port }), { host, port }]));
  yield good("cluster", `Masters: ${masters.size}, which serve ${served} slots.`);
  const found = new Map<string, readonly Finding[]>();
  const clocks: number[] = [];
  for (const [at, master] of masters) {
    try {
      const facts = await ask(nodeOf(address, master), at, checkup, factsOf);
      clocks.push(facts.ahead);
      found.set(at, judged(facts, RULES));
    } catch (error) {
      found.set(at, [note("cluster", `${(error as Error).message}.`)]);
    }
  }
  yield* together(found);
  const apart = clocksApart(clocks, Infinity);
  if (apart !== undefined) yield apart;
}

/** What the first of the nodes tells that answers. */
async function anyOf(address: ClusterAddress, checkup: Checkup): Promise<{ ranges: Range[]; isUp: boolean }> {
  const errors: unknown[] = [];
  for (const node of address.nodes as { host: string; port: number }[]) {
    try {
      return await ask(nodeOf(address, node), written(node), checkup, async (asked) => ({
        ranges: list(await asked.ask("CLUSTER", "SLOTS"), 0) as Range[],
        isUp: /cluster_state:ok/.test(text(await asked.ask("CLUSTER", "INFO"))),
      }));
    } catch (error) {
      errors.push(redisError(`ask the Cluster at ${written(node)}`, error));
    }
  }
  throw errors[0];
}

/** With TLS, a node that the others know by its address alone shows a certificate for a name that was given. */
function nodeOf(address: ClusterAddress, { host, port }: { host: string; port: number }): RedisOptions {
  const { tls, ...node } = address.node;
  if (!tls) return { ...node, host, port };
  const name = (address.nodes as { host: string }[]).map((one) => one.host).find((one) => isIP(one) === 0);
  return {
    ...node,
    host,
    port,
    tls: isIP(host) === 0 || name === undefined ? tls : { servername: name, ...tls },
  };
}
