/** What makes a lock safe or unsafe on one Redis server, rule by rule. */
import {
  clockFinding,
  duration,
  type Finding,
  good,
  isBefore,
  note,
  unsafe,
  unseen,
} from "../../shared/doctor.ts";
import type { Info } from "../client/inquiry.ts";

/** What a server says of itself. */
export interface Facts {
  /** `undefined` if the user may not ask. */
  readonly info: Info | undefined;
  /** When the log of writes is put on the disk; `undefined` if that may not be seen. */
  readonly appendfsync: string | undefined;
  /** Milliseconds by which the server's clock is ahead of ours. */
  readonly ahead: number;
}

/** Looks at one thing; `undefined` if there is nothing to say. */
export type Rule = (info: Info, facts: Facts) => Finding | undefined;

/** Series before it are mended by their makers no longer. */
const MENDED = "7.2";

/** What is to be said of a server. */
export function judged(facts: Facts, rules: readonly Rule[]): Finding[] {
  const { info, ahead } = facts;
  return [
    ...info === undefined
      ? [unseen("server", "version, memory, role and persistence are told by INFO (grant +info)")]
      : rules.flatMap((rule) => rule(info, facts) ?? []),
    clockFinding(ahead, "Tokens are made of the server's clock: they fall if it is set back."),
  ];
}

function version({ redis_version = "", valkey_version, dragonfly_version, mvcc_depth }: Info): Finding {
  if (dragonfly_version !== undefined) {
    return note("version", `This is Dragonfly ${dragonfly_version}, on which Holdfast is not tested.`);
  }
  if (valkey_version !== undefined) return good("version", `This is Valkey ${valkey_version}.`);
  const found = `This is ${mvcc_depth === undefined ? "Redis" : "KeyDB"} ${redis_version}`;
  if (isBefore(redis_version, "6.2")) return unsafe("version", `${found}: 6.2 or later is needed.`);
  if (mvcc_depth !== undefined || !isBefore(redis_version, MENDED)) return good("version", `${found}.`);
  return note("version", `${found}: its makers mend only ${MENDED} and later.`);
}

/** Locks are keys with a ttl: what evicts, evicts them. */
function memory(
  { maxmemory = "0", maxmemory_policy: policy = "noeviction", used_memory = "0" }: Info,
): Finding {
  if (policy !== "noeviction") {
    const set = "Set maxmemory-policy to noeviction, or keep locks in a server of their own";
    return maxmemory === "0"
      ? note("memory", `It would evict locks (maxmemory-policy ${policy}) once maxmemory is set. ${set}.`)
      : unsafe("memory", `It evicts locks when memory is short (maxmemory-policy ${policy}). ${set}.`);
  }
  const share = Number(used_memory) / Number(maxmemory);
  if (maxmemory === "0" || share < 0.9) return good("memory", "It evicts nothing.");
  const full = `${Math.round(share * 100)} % of maxmemory are in use`;
  return note("memory", `${full}: where there is no more, nobody is given a lock. Raise it.`);
}

function role({ role, master_host, master_port }: Info): Finding | undefined {
  if (role !== "slave") return undefined;
  const what = `This is a replica of ${master_host}:${master_port}, which takes no locks`;
  return unsafe("role", `${what}: name the master, or the Sentinels.`);
}

/** A crash is a fault that Redis is not made to survive without loss, unless told so. */
function persistence({ aof_enabled }: Info, { appendfsync }: Facts): Finding {
  const twice = "and grants them again before their holders know, who learn it by their next renewal";
  if (aof_enabled !== "1") {
    return note("persistence", `A restart forgets locks, ${twice}. Set appendonly yes, appendfsync always.`);
  }
  if (appendfsync === "always") return good("persistence", "A grant is on disk before it is told.");
  if (appendfsync === undefined) {
    return unseen("persistence", "how soon a grant is on disk is told by CONFIG (grant +config|get)");
  }
  const forgets = `A crash of the machine forgets the latest locks (appendfsync ${appendfsync})`;
  return note("persistence", `${forgets}, ${twice}.`);
}

/** Replication is asynchronous, whatever is set. */
function replication({ role, connected_slaves = "0", min_slaves_good_slaves }: Info): Finding | undefined {
  if (role === "slave") return undefined;
  if (connected_slaves === "0") {
    return good("failover", "There is no replica: nobody gets a lock while the server is away.");
  }
  const may =
    "A failover may lose a lock that was granted just before, and grant it again before its holder knows";
  const cutOff = "a master that is cut off from granting for long";
  const least = min_slaves_good_slaves === undefined
    ? `Set min-replicas-to-write 1, which keeps ${cutOff}`
    : `min-replicas-to-write keeps ${cutOff}`;
  return note("failover", `Replicas: ${connected_slaves}. ${may}. ${least}.`);
}

/** For the vote of a node of Redlock: what it loses by a restart, or by a failover, keeps it out for a while. */
export const NODE_RULES: readonly Rule[] = [version, memory, role];

/** For a lock. */
export const RULES: readonly Rule[] = [...NODE_RULES, persistence, replication];

/** Whether clocks agree, within milliseconds; `undefined` if they do. */
export function clocksApart(ahead: readonly number[], limit: number): Finding | undefined {
  const apart = Math.max(...ahead) - Math.min(...ahead);
  if (!(apart >= 1_000)) return undefined;
  const says = `The clocks of the servers are ${duration(apart)} apart`;
  return apart < limit
    ? note("clocks", `${says}.`)
    : unsafe("clocks", `${says}: one that is ${duration(limit)} off is as good as away.`);
}
