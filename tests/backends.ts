/**
 * Every backend that the conformance suite runs on: one line each. `BACKENDS=memory,redis` limits a
 * run to those, and loads no other.
 */
import { env } from "node:process";
import type { Harness } from "./conformance/mod.ts";

/** A harness, made when it is wanted: real servers start then. */
export type OpenHarness = () => Promise<Harness>;

const ALL: Readonly<Record<string, OpenHarness>> = {
  memory: async () => (await import("./harnesses/memory.ts")).harness(),
  sqlite: async () => (await import("./harnesses/sqlite.ts")).harness(),
  postgres: async () => (await import("./harnesses/postgres.ts")).harness(),
  "postgres-bouncer": async () => (await import("./harnesses/postgres.ts")).bouncerHarness(),
  "postgres-pool": async () => (await import("./harnesses/postgres.ts")).poolHarness(),
  "postgres-js": async () => (await import("./harnesses/postgres.ts")).clientHarness(),
  redis: async () => (await import("./harnesses/redis.ts")).harness(),
  "redis-sentinel": async () => (await import("./harnesses/redis.ts")).sentinelHarness(),
  "redis-cluster": async () => (await import("./harnesses/redis.ts")).clusterHarness(),
  redlock: async () => (await import("./harnesses/redlock.ts")).harness(),
  etcd: async () => (await import("./harnesses/etcd.ts")).harness(),
  "etcd-client": async () => (await import("./harnesses/etcd.ts")).clientHarness(),
  "etcd-cluster": async () => (await import("./harnesses/etcd.ts")).clusterHarness(),
  zookeeper: async () => (await import("./harnesses/zookeeper.ts")).harness(),
  "zookeeper-ensemble": async () => (await import("./harnesses/zookeeper.ts")).ensembleHarness(),
  consul: async () => (await import("./harnesses/consul.ts")).harness(),
  "consul-cluster": async () => (await import("./harnesses/consul.ts")).clusterHarness(),
};

/** The backends of this run. */
export const backends: Readonly<Record<string, OpenHarness>> = chosen(env["BACKENDS"]);

function chosen(names: string | undefined): Record<string, OpenHarness> {
  if (names === undefined || names === "") return { ...ALL };
  return Object.fromEntries(
    names.split(",").map((name) => {
      const open = ALL[name.trim()];
      if (open === undefined) {
        throw new Error(
          `Cannot run on ${JSON.stringify(name)}: BACKENDS accepts ${Object.keys(ALL).join(", ")}`,
        );
      }
      return [name.trim(), open];
    }),
  );
}
