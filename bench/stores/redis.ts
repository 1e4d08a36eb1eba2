import { RedisServer } from "../../tests/servers/redis.ts";
import { HOST } from "../../tests/servers/process.ts";
import { distance } from "../harness/distance.ts";
import { goPeer, javaPeer } from "../peers/build.ts";
import type { Running, Store } from "./store.ts";

/** One server, without persistence. */
export const redis: Store = {
  name: "redis",
  shortTtl: 2_000,
  longTtl: 600_000,
  contestants: [
    { name: "Holdfast", kind: "ours", module: "holdfast.ts" },
    { name: "SET NX PX and a script", kind: "floor", module: "redis/bare.ts", bare: true },
    { name: "PUBLISH", kind: "floor", module: "redis/publish.ts", signal: true },
    { name: "redlock", kind: "peer", module: "redis/redlock.ts", crowd: 100 },
    { name: "redis-semaphore", kind: "peer", module: "redis/redis_semaphore.ts", crowd: 1_000 },
    { name: "@sesamecare-oss/redlock", kind: "peer", module: "redis/sesamecare.ts", crowd: 100 },
    { name: "@verrou/core", kind: "peer", module: "redis/verrou.ts", crowd: 100 },
    { name: "simple-redis-mutex", kind: "peer", module: "redis/simple_redis_mutex.ts", crowd: 1_000 },
    { name: "node-redisson", kind: "peer", module: "redis/node_redisson.ts", crowd: 10 },
    { name: "redlock-universal", kind: "peer", module: "redis/redlock_universal.ts", crowd: 100 },
    ...Object.entries({
      "Redisson's RLock": "redisson-lock",
      "Redisson's fair lock": "redisson-fair",
      "Redisson's fenced lock": "redisson-fenced",
    }).map(([name, peer]) => ({
      name,
      kind: "peer" as const,
      language: "java",
      program: (address: string, ttl: number) => javaPeer(peer, address, ttl),
      renews: true,
      crowd: 1_000,
    })),
    {
      name: "redsync",
      kind: "peer",
      language: "go",
      program: (address, ttl) => goPeer("redsync", address, ttl),
      crowd: 100,
    },
  ],
  async start(): Promise<Running> {
    const server = await RedisServer.start({
      args: ["--slowlog-max-len", "10000", "--slowlog-log-slower-than", "-1"],
    });
    return {
      address: server.url,
      pids: [server.process.pid!],
      async version() {
        return /redis_version:(\S+)/.exec(await server.cli("info", "server"))![1]!;
      },
      async far(ms) {
        const way = await distance(server.port, ms);
        return {
          address: `redis://${HOST}:${way.port}`,
          [Symbol.asyncDispose]: () => way[Symbol.asyncDispose](),
        };
      },
      async calls() {
        const stats = await server.cli("info", "commandstats");
        return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
      },
      async longest(during) {
        // What a script calls is logged as well, and takes a few microseconds.
        await server.cli("config", "set", "slowlog-log-slower-than", "100");
        await server.cli("slowlog", "reset");
        await during();
        const log = await server.cli("slowlog", "get", "10000");
        await server.cli("config", "set", "slowlog-log-slower-than", "-1");
        return Math.max(0, ...times(log));
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
};

/** Milliseconds of the scripts in what `redis-cli slowlog get` prints: number, time, microseconds, words. */
function times(log: string): number[] {
  const entries = log.matchAll(/^\d+\n\d+\n(\d+)\n(\w+)/gm);
  return [...entries].filter(([, , name]) => name!.toLowerCase() === "evalsha").map(([, us]) =>
    Number(us) / 1_000
  );
}
