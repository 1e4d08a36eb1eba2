/**
 * Redlock: locks that a majority of independent Redis servers has agreed to.
 *
 * ```ts ignore
 * import { LockManager } from "@holdfast/lock";
 * import { redlock } from "@holdfast/lock/redlock";
 *
 * const nodes = ["redis://r1", "redis://r2", "redis://r3", "redis://r4", "redis://r5"];
 * await using locks = new LockManager(redlock(nodes));
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * A lock is held once more than half of the nodes have given it their vote. With five nodes two may be
 * away. The fencing token is the ballot: one number, proposed to all, that a node accepts only if it is
 * greater than any it has voted for. Any two majorities share a node, so tokens rise strictly.
 *
 * A bare majority is asked first, the same for all who want the same key; the others only if one of it
 * refuses, fails or is silent for 5 ms. A lock that is still held after 20 ms is brought to the others
 * too, and by each renewal to those that were away, so that the loss of any two of five does not end it.
 * A lock rests on a majority and nothing else: whom else one has asked makes no second one possible.
 * Within these 20 ms the loss of a node may cost the lock, and the signal tells.
 *
 * What it does not promise:
 *
 * - **Order.** There is no queue: whoever gets the votes first. A key that many want at once costs
 *   several rounds. Semaphores (a finite `limit` above 1) cannot be had from majorities at all: three
 *   holders could each have two of three nodes. `limit` is refused.
 * - **Clocks.** Votes expire by the nodes' clocks. If the clock of a node jumps ahead, its vote ends
 *   too early, and with a bare majority that is enough for two holders; if it falls back, tokens may.
 *   A node whose clock is more than four seconds from those of the others is as good as away.
 * - **Memory.** A node that restarts, is flushed or is new stays out for `maxTtl` (at least 5 s), counted
 *   from when somebody first connects to it, because it may have forgotten votes. Nodes that nobody has
 *   used yet cannot be told from nodes that have all lost their memory at once, nor a new server from
 *   one that has taken the place of another, however long it has been up. So new nodes grant their
 *   first lock after that time: `acquire` waits for it as it would for a holder, `tryAcquire` rejects
 *   with a `QuorumError` that says how long it will take. Who knows that there is nothing to forget can let
 *   a node in: `redis-cli HSET holdfast:node run <its run_id, from INFO server> since 0`. A server that
 *   evicts keys (`maxmemory-policy` other than `noeviction`) forgets votes unnoticed.
 * - **Replicas.** Each node must be one server by itself: a Cluster, or a node of one, is refused. If a
 *   replica takes over, it counts as new.
 *
 * All clients must name the same nodes, best in the same order, and should name the same `maxTtl`. An ACL user needs what
 * `redis` needs, and `+info +hlen +hmget +pexpireat ~holdfast:node`.
 *
 * @module
 */
import type { Backend } from "../internal/backend.ts";
import { isObject } from "../internal/checks.ts";
import { RedisBackend } from "./redis/backend.ts";
import { type RedisTarget, type Route, route } from "./redis/route.ts";
import { RedlockBackend } from "./redlock/backend.ts";

/** Options of {@linkcode redlock}. */
export interface RedlockOptions {
  /**
   * Milliseconds: the longest ttl that may be asked for, and how long a node that has lost its memory
   * stays out, new ones included. Shorter lets new nodes begin sooner.
   * @default {30_000}
   */
  readonly maxTtl?: number;
}

/**
 * Locks by a majority of Redis servers, each a `redis(...)` backend or what one is made of. Nothing
 * connects before the first call.
 *
 * @throws {TypeError | RangeError} If there is no node, something that is none, or a Cluster.
 * @throws {RangeError} If `maxTtl` is not between 100 ms and a day.
 */
export function redlock(nodes: readonly (Backend | RedisTarget)[], options: RedlockOptions = {}): Backend {
  const { maxTtl = 30_000 } = options;
  if (!Array.isArray(nodes) || nodes.length === 0) {
    throw new TypeError(
      "Cannot use Redlock without nodes: give an array of Redis servers, best three or five",
    );
  }
  if (!(maxTtl >= 100 && maxTtl <= 86_400_000)) {
    throw new RangeError(`Cannot use maxTtl ${maxTtl}: milliseconds from 100 to 86400000 are expected`);
  }
  return new RedlockBackend(nodes.map(node), maxTtl);
}

function node(one: Backend | RedisTarget): Route {
  if (isObject(one) && "traits" in one && !(one instanceof RedisBackend)) {
    throw new TypeError(`Cannot use a ${one.name} backend as a Redlock node: give redis(...)`);
  }
  const to: Route = one instanceof RedisBackend ? one.route : route(one as RedisTarget);
  if (to.cluster) {
    throw new TypeError(
      "Cannot use a Cluster as a Redlock node: give servers that know nothing of each other",
    );
  }
  return to;
}
