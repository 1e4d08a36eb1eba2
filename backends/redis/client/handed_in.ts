import type { Cluster, Redis } from "ioredis";
import { openBun, type TheirBun } from "./bun.ts";
import { openIoredis } from "./ioredis.ts";
import { clientKind } from "./kind.ts";
import {
  openNodeRedis,
  openNodeRedisCluster,
  openNodeRedisPool,
  openNodeRedisSentinel,
  type TheirClient,
  type TheirCluster,
  type TheirPool,
  type TheirSentinel,
} from "./node_redis.ts";
import type { RedisClient } from "./types.ts";
import type { Link, LinkRequest } from "./link.ts";

export type { BunRedisClient, IoredisClient, NodeRedisClient, RedisClient } from "./types.ts";
export { isClient, isClusterClient } from "./kind.ts";

/**
 * Commands go through the client as it is; whatever it repeats or delays does no harm. Messages come over a
 * connection of our own, made like the client's, since listening could put the client into another mode.
 */
export function openClient(client: RedisClient, request: LinkRequest): Promise<Link> {
  const given: unknown = client;
  switch (clientKind(client)) {
    case "ioredis":
      return openIoredis(given as Redis | Cluster, request);
    case "node-redis":
      return openNodeRedis(given as TheirClient, request);
    case "node-redis pool":
      return openNodeRedisPool(given as TheirPool, request);
    case "node-redis sentinel":
      return openNodeRedisSentinel(given as TheirSentinel, request);
    case "node-redis cluster":
      return openNodeRedisCluster(given as TheirCluster, request);
    case "bun":
      return openBun(given as TheirBun, request);
    case undefined:
      throw new TypeError("Cannot use this as a Redis client");
  }
}
