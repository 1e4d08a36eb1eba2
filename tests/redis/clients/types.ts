/** The types of all that may be handed in: this file is never run, `deno task static` reads it. */
import type { Cluster as Cluster4, Redis as Redis4 } from "ioredis-4";
import type { Cluster as Cluster5, Redis as Redis5 } from "ioredis-5";
import type { Cluster as Cluster6, Redis as Redis6 } from "ioredis";
import type { Cluster as ValkeyCluster, Redis as Valkey } from "iovalkey";
import type * as nodeRedis4 from "redis-4";
import type * as nodeRedis5 from "redis-5";
import type * as nodeRedis6 from "redis";
import type { RedisClient } from "redis-3";
import { redis } from "../../../backends/redis.ts";

/** What functions return, and their types of that name, which are not the same. */
interface Clients {
  ioredis: Redis4 | Cluster4 | Redis5 | Cluster5 | Redis6 | Cluster6 | Valkey | ValkeyCluster;
  nodeRedis4:
    | ReturnType<typeof nodeRedis4.createClient>
    | ReturnType<typeof nodeRedis4.createCluster>
    | nodeRedis4.RedisClientType
    | nodeRedis4.RedisClusterType;
  nodeRedis5:
    | ReturnType<typeof nodeRedis5.createClient>
    | ReturnType<typeof nodeRedis5.createCluster>
    | ReturnType<typeof nodeRedis5.createSentinel>
    | ReturnType<typeof nodeRedis5.createClientPool>
    | nodeRedis5.RedisClientType
    | nodeRedis5.RedisClusterType
    | nodeRedis5.RedisSentinelType
    | nodeRedis5.RedisClientPoolType;
  nodeRedis6:
    | ReturnType<typeof nodeRedis6.createClient>
    | ReturnType<typeof nodeRedis6.createCluster>
    | ReturnType<typeof nodeRedis6.createSentinel>
    | ReturnType<typeof nodeRedis6.createClientPool>
    | nodeRedis6.RedisClientType
    | nodeRedis6.RedisClusterType
    | nodeRedis6.RedisSentinelType
    | nodeRedis6.RedisClientPoolType;
  bun: BunRedisClient;
}

/** What `bun-types` 1.3 says of it, which are no types for here: they are those of all of Bun. */
declare class BunRedisClient {
  readonly connected: boolean;
  readonly bufferedAmount: number;
  onconnect: ((this: BunRedisClient) => void) | null;
  onclose: ((this: BunRedisClient, error: Error) => void) | null;
  connect(): Promise<void>;
  close(): void;
  // deno-lint-ignore no-explicit-any
  send(command: string, args: string[]): Promise<any>;
  subscribe(channel: string, listener: (message: string, channel: string) => void): Promise<number>;
  unsubscribe(channel: string): Promise<void>;
  duplicate(): Promise<BunRedisClient>;
}

/** Are taken. */
export function taken({ ioredis, nodeRedis4, nodeRedis5, nodeRedis6, bun }: Clients): void {
  for (const client of [ioredis, nodeRedis4, nodeRedis5, nodeRedis6, bun]) redis(client);
}

/** Are not. */
export function refused(
  one: Redis6,
  old: RedisClient,
  four: nodeRedis4.RedisClientType,
): void {
  // @ts-expect-error A Promise of a client.
  redis(Promise.resolve(one));
  // @ts-expect-error A pipeline.
  redis(one.pipeline());
  // @ts-expect-error A transaction.
  redis(four.multi());
  // @ts-expect-error A client of redis 3.
  redis(old);
}
