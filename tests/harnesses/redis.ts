import { redis, type RedisTarget } from "../../backends/redis.ts";
import type { Backend } from "../../internal/backend.ts";
import type { Harness } from "../conformance/mod.ts";
import { CALL, claim, ENTERED, request } from "../support.ts";
import { RedisCluster, RedisSentinels, RedisServer } from "../servers/redis.ts";
import { partition } from "./partition.ts";

/** One server. */
export async function harness(): Promise<Harness> {
  const server = await RedisServer.start();
  return {
    ...over("redis", server.url),
    partition: () => partition([server], (port) => redis({ port })),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** A master with a replica, found through Sentinels. */
export async function sentinelHarness(): Promise<Harness> {
  const servers = await RedisSentinels.start();
  const sentinels = servers.sentinels.map(({ host, port }) => ({ host, port }));
  return {
    ...over("redis, by Sentinel", { sentinels, name: servers.name }),
    [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose](),
  };
}

/** Three masters. */
export async function clusterHarness(): Promise<Harness> {
  const cluster = await RedisCluster.start();
  return {
    ...over("redis, a Cluster", { cluster: [cluster.url] }),
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

/** Whatever a backend can be made of. */
export function over(name: string, target: RedisTarget): Harness {
  return { name, open: () => redis(target), revoke: (key) => revoke(redis(target), key) };
}

/** An operator removes who holds. (Deleting the fields by hand would not call the next in line.) */
export async function revoke(backend: Backend, key: string): Promise<void> {
  await using operator = backend;
  const lease = await operator.lease(request(), CALL);
  for (const { id, held } of await operator.list(key, CALL)) {
    if (held) await lease.release(claim({ id, key }), ENTERED);
  }
}
