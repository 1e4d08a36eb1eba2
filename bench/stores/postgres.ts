import { HOST } from "../../tests/servers/process.ts";
import { PostgresServer } from "../../tests/servers/postgres.ts";
import { distance } from "../harness/distance.ts";
import type { Store } from "./store.ts";

/** One server, which waits for its disk. */
export const postgres: Store = {
  name: "postgres",
  shortTtl: 2_000,
  longTtl: 600_000,
  contestants: [
    { name: "Holdfast", kind: "ours", module: "holdfast.ts" },
    { name: "an INSERT and a DELETE", kind: "floor", module: "postgres/bare.ts", bare: true },
    { name: "NOTIFY", kind: "floor", module: "postgres/notify.ts", signal: true },
    { name: "pg_advisory_lock", kind: "peer", module: "postgres/advisory.ts", crowd: 10 },
    { name: "advisory-lock", kind: "peer", module: "postgres/advisory_lock.ts", crowd: 10 },
  ],
  async start() {
    const server = await PostgresServer.start({ args: ["-c", "max_connections=300"] });
    const address = (port: number) => `postgres://postgres@${HOST}:${port}/postgres`;
    return {
      address: address(server.port),
      pids: [server.process.pid!],
      version: () => server.sql("SHOW server_version"),
      async far(ms) {
        const way = await distance(server.port, ms);
        return { address: address(way.port), [Symbol.asyncDispose]: () => way[Symbol.asyncDispose]() };
      },
      async calls() {
        await server.sql("SELECT pg_stat_force_next_flush()");
        return Number(
          await server.sql("SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'"),
        );
      },
      async longest(during) {
        await server.sql("ALTER SYSTEM SET log_min_duration_statement = 1");
        await server.sql("SELECT pg_reload_conf()");
        const before = server.process.log(Infinity).length;
        await during();
        await server.sql("ALTER SYSTEM RESET log_min_duration_statement");
        await server.sql("SELECT pg_reload_conf()");
        const log = server.process.log(Infinity).slice(before);
        return Math.max(
          0,
          ...[...log.matchAll(/duration: ([\d.]+) ms .*holdfast/g)].map(([, ms]) => Number(ms)),
        );
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
};
