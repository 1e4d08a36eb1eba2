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
 * and no herd. Messages may get lost; a renewal brings the same news at most a third of a ttl later. Who
 * waits for one says something to itself every five seconds, so that a connection over which nothing comes any
 * more is noticed and replaced. What an operation costs does not depend on how many wait.
 *
 * An address is a URL (`redis://user:password@host:port/db`, `rediss://` for TLS, `valkey://`, `valkeys://`,
 * `unix:///path?db=3`) or options, which also name Sentinels or the nodes of a Cluster:
 *
 * ```ts
 * import { redis } from "@holdfast/lock/redis";
 *
 * redis({ sentinels: [{ host: "s1", port: 26379 }, { host: "s2", port: 26379 }], name: "mymaster" });
 * redis({ cluster: ["rediss://user:secret@clustercfg.example.net:6379"] });
 * ```
 *
 * A password that the server does not take, a database that it does not have and a right that is missing
 * are errors at the first call, which are not retried. A Cluster with TLS is checked for the names given
 * here, also where its nodes call each other by address; `tls.servername`, a node's own `servername` and
 * `natMap` say otherwise.
 *
 * A client of yours does as well, and stays open: `Redis` and `Cluster` of ioredis 4 to 6 and of iovalkey; what
 * `createClient` and `createCluster` of node-redis 4 to 6 return, `createClientPool` and `createSentinel` of its 5 and
 * 6; Bun's `RedisClient`. Commands go by that client, with its prefix; messages by a connection of our own to the same
 * server. Any other is refused with a `TypeError`.
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
 *   falls back, or the replica's is behind, tokens may too, unless the last token (see `rememberFor`) has
 *   survived. To remember it costs a quarter of a kilobyte for each key that was used lately.
 * - **Reentrance.** Whoever holds a lock and asks for it again waits for itself.
 * - **Watching** by hand: a queue that an operator deletes or edits with `redis-cli` calls nobody; the
 *   next in line learns of it when it renews.
 *
 * In a Cluster a renewal is one call a key. Since Redis 7.0 hand-overs and watches concern no node but that of the
 * key; before that each is published to all nodes. While a slot moves, its locks go with it.
 *
 * The smallest rule for an ACL user, with the default prefix:
 *
 * ```acl
 * ~holdfast/* &holdfast* +eval +evalsha +time +type +hgetall +hget +hset +hdel +del +pttl +pexpire
 * +zcard +zscore +zmscore +zadd +zrem +zcount +zrangebyscore +zrevrangebyscore +zremrangebyscore
 * +publish +subscribe +unsubscribe +scan
 * ```
 *
 * With a prefix of your own it begins with `~prefix/* &prefix/* &holdfast:*`. (`scan` is for `query()` alone, which
 * reads through all keys of the database.) With a database other than 0 add
 *
 * ```acl
 * +select
 * ```
 *
 * by Sentinel
 *
 * ```acl
 * +info
 * ```
 *
 * and for the user at the Sentinels themselves
 *
 * ```acl
 * &+switch-master +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels
 * ```
 *
 * in a Cluster
 *
 * ```acl
 * +cluster|slots +cluster|info +asking +spublish +ssubscribe +sunsubscribe
 * ```
 *
 * and for a client of yours what it asks by itself, such as `+ping +info +client`.
 *
 * Deno needs `--allow-net` for the servers and `--allow-env`, `--allow-read` for npm's ioredis.
 *
 * @module
 */
import type { Backend } from "../internal/backend.ts";
import { checkKinds } from "../internal/checks.ts";
import { RedisBackend } from "./redis/backend.ts";
import { type RedisTarget, route } from "./redis/address.ts";
import { checkRememberFor } from "./redis/client/options.ts";
import { REDIS_TRAITS } from "./redis/traits.ts";

export type { RedisAddress, RedisTarget } from "./redis/address.ts";
export type { RedisEndpoint, RedisNode } from "./redis/client/endpoint.ts";
export type {
  BunRedisClient,
  IoredisClient,
  NodeRedisClient,
  RedisClient,
} from "./redis/client/handed_in.ts";
export type { RedisServerOptions, RedisTls } from "./redis/client/options.ts";

/** Options of {@linkcode redis}. */
export interface RedisBackendOptions {
  /**
   * Milliseconds for which the last token of a key that nobody uses is remembered, at least; at most three times as
   * long. Tokens come from the server's clock: this is for one that falls back, or a replica's that is behind.
   * @default {300_000}
   */
  readonly rememberFor?: number;
}

/**
 * Locks in Redis, by default at `redis://127.0.0.1:6379`. Nothing connects before the first call.
 *
 * @throws {TypeError | RangeError} If the address is none, or contradicts itself; `undefined` is none either.
 */
export function redis(...given: [] | [target: RedisTarget, options?: RedisBackendOptions]): Backend {
  const [target, options = {}] = given.length === 0 ? ["redis://127.0.0.1:6379"] : given;
  const to = route(target);
  checkKinds("redis()", options, { rememberFor: ["number"] });
  const { rememberFor = 300_000 } = options;
  checkRememberFor(rememberFor);
  return new RedisBackend(REDIS_TRAITS, to, Math.round(rememberFor));
}
