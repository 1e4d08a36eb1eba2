/**
 * Locks in Redis 6.2 or later, Valkey or KeyDB: one server, a master found by Sentinels, or a Cluster.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { redis } from "@holdfast/lock/redis";
 *
 * await using locks = new LockManager(redis("redis://127.0.0.1:6379"));
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * The claims of a key stand in one queue, kept by scripts. The script that releases a lock makes the
 * next live claim the holder and publishes that to its process: one message a hand-over, no polling
 * and no herd. Messages may get lost; a renewal brings the same news at most a third of a ttl later.
 *
 * What it does not promise:
 *
 * - **Replication.** A master answers before its replicas know. If it fails then, the replica that
 *   takes over may not know of a lock, and grant it to another. The old holder learns at its next
 *   renewal; until then there are two, and only the token (from the server's clock, so that it rises
 *   even then) tells them apart. What must not happen even then needs a resource that checks the
 *   token, or a store with consensus, or `redlock`.
 * - **Memory.** A server that evicts (`maxmemory-policy` other than `noeviction`), is flushed or
 *   restarts without persistence forgets locks in the same way.
 * - **Clocks.** Claims expire by the server's clock. If that jumps forward, locks end too early; if it
 *   falls back, or the replica's is behind, tokens may too, unless the last token (kept for a day
 *   after a key was used) has survived.
 * - **Watching** by hand: a queue that an operator deletes or edits with `redis-cli` calls nobody; the
 *   next in line learns of it when it renews.
 *
 * In a Cluster every change of a queue is published to all nodes, and a renewal is one call a key.
 *
 * The smallest rule for an ACL user, with the default prefix: `~holdfast/* &holdfast* +eval +evalsha
 * +time +hget +hgetall +hlen +hset +hdel +pexpire +publish +subscribe +unsubscribe +scan`; with a prefix of your
 * own `~prefix/* &prefix/* &holdfast:*`; by Sentinel also `+info`, in a Cluster `+cluster|slots
 * +cluster|info`. (`scan` is for `query()` alone, which reads through all keys of the database.)
 *
 * @module
 */
import type { Backend } from "../internal/backend.ts";
import { RedisBackend } from "./redis/backend.ts";
import { type RedisTarget, route } from "./redis/route.ts";

export type { RedisAddress, RedisEndpoint, RedisServerOptions, RedisTls } from "./redis/address.ts";
export type { BunRedisClient, IoredisClient, NodeRedisClient, RedisClient } from "./redis/client_link.ts";
export type { RedisTarget } from "./redis/route.ts";

/**
 * Locks in Redis. Nothing connects before the first call.
 *
 * @throws {TypeError | RangeError} If the address is none.
 */
export function redis(target: RedisTarget = "redis://127.0.0.1:6379"): Backend {
  const { open, place } = route(target);
  return new RedisBackend(open, place);
}
