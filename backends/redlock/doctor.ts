/** What a lock of this Redlock is worth. */
import type { RedisOptions } from "ioredis";
import { redlock } from "../redlock.ts";
import { ask, factsOf } from "../redis/doctor/ask.ts";
import { clocksApart, type Facts, judged, NODE_RULES } from "../redis/doctor/rules.ts";
import { destination, place, type RedisAddress } from "../redis/client/destination.ts";
import {
  type Checkup,
  duration,
  type Examination,
  type Finding,
  good,
  note,
  probe,
  refusedFor,
  together,
  unsafe,
} from "../shared/doctor.ts";
import { redlockTraits } from "./traits.ts";

/** Milliseconds by which the clock of a node may be off: it takes no part beyond that. */
const OFF = 4_000;

/** A node that has answered. */
interface Node {
  readonly place: string;
  readonly host: string;
  readonly facts: Facts;
}

/** Looks at each node, and at what they have in common. */
export async function* examine(
  addresses: readonly RedisAddress[],
  options: { readonly maxTtl?: number },
  checkup: Checkup,
): Examination {
  const nodes: Node[] = [];
  const failures: unknown[] = [];
  for (const address of addresses) {
    try {
      nodes.push(await look(address, checkup));
    } catch (error) {
      failures.push(error);
    }
  }
  if (nodes.length === 0) return yield refusedFor("access", failures[0]);
  for (const error of failures) yield note("nodes", `${(error as Error).message}.`);
  yield count(addresses.length);
  yield* apart(nodes);
  const { maxTtl } = redlockTraits(options.maxTtl);
  const each = ({ facts }: Node) => [...judged(facts, NODE_RULES), ...young(facts, maxTtl)];
  yield* together(new Map(nodes.map((node) => [node.place, each(node)])));
  const clocks = clocksApart(nodes.map(({ facts }) => facts.ahead), OFF);
  if (clocks !== undefined) yield clocks;
  yield* probe(redlock(addresses, options), checkup);
}

async function look(address: RedisAddress, checkup: Checkup): Promise<Node> {
  const to = destination(address) as { server: RedisOptions };
  const at = place(to);
  return { place: at, host: to.server.host ?? "", facts: await ask(to.server, at, checkup, factsOf) };
}

function count(all: number): Finding {
  const away = Math.ceil(all / 2) - 1;
  const says = `Nodes: ${all}, of which ${away} may be away`;
  if (all < 3) return note("nodes", `${says}: use three or five.`);
  if (all % 2 === 0) return note("nodes", `${says}, as of ${all - 1}: one of them is of no use.`);
  return good("nodes", `${says}.`);
}

/** A majority is one only if its nodes are different servers, which do not fail together. */
function apart(nodes: readonly Node[]): Finding[] {
  const findings: Finding[] = [];
  for (const places of alike(nodes, ({ facts }) => facts.info?.run_id)) {
    findings.push(
      unsafe("nodes", `${places} are one and the same server, whose vote counts more than once.`),
    );
  }
  for (const places of alike(nodes, ({ host }) => host)) {
    findings.push(note("nodes", `${places} are on one machine, and lost together.`));
  }
  for (const { place, facts: { info } } of nodes) {
    if (info?.cluster_enabled === "1") {
      findings.push(unsafe("nodes", `${place} is part of a Cluster: a node has to be a server by itself.`));
    }
    if (info?.role === "master" && Number(info.connected_slaves) > 0) {
      const then = "one that takes over counts as new, and stays out at first";
      findings.push(note("nodes", `${place} has replicas: ${then}.`));
    }
  }
  return findings;
}

/** The places of nodes that have something in common. */
function alike(nodes: readonly Node[], what: (node: Node) => string | undefined): string[] {
  const groups = Map.groupBy(nodes, what);
  groups.delete(undefined);
  return [...groups.values()].filter((group) => group.length > 1)
    .map((group) => group.map(({ place }) => place).join(", "));
}

/** A node that may have forgotten votes grants nothing yet. */
function young({ info }: Facts, maxTtl: number): Finding[] {
  if (info === undefined || Number(info.uptime_in_seconds) * 1_000 >= maxTtl) return [];
  const out = `it stays out for ${duration(maxTtl)} (maxTtl) from when somebody first uses it`;
  return [note("restart", `It has started not long ago: ${out}.`)];
}
