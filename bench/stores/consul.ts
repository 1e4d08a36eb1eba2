import { ConsulServer } from "../../tests/servers/consul.ts";
import { HOST } from "../../tests/servers/process.ts";
import { distance } from "../harness/distance.ts";
import type { Store } from "./store.ts";

/** One agent, which keeps its log on disk. No package that locks there is on npm any more. */
export const consul: Store = {
  name: "consul",
  shortTtl: 10_000,
  longTtl: 600_000,
  contestants: [
    // Who enters reads the queue, values and all: ten thousand would take a quarter of an hour to stand in line.
    { name: "Holdfast", kind: "ours", module: "holdfast.ts", crowd: 1_000 },
    { name: "PUT ?acquire and PUT ?release", kind: "floor", module: "consul/bare.ts", bare: true },
    { name: "a DELETE that ends a blocking query", kind: "floor", module: "consul/query.ts", signal: true },
  ],
  async start() {
    const server = await ConsulServer.start({
      persistent: true,
      config: { limits: { http_max_conns_per_client: 10_000 } },
    });
    return {
      address: `consul://${HOST}:${server.port}`,
      pids: [server.process.pid!],
      async version() {
        return (await server.api("GET", "agent/self") as { Config: { Version: string } }).Config.Version;
      },
      async far(ms) {
        const way = await distance(server.port, ms);
        return {
          address: `consul://${HOST}:${way.port}`,
          [Symbol.asyncDispose]: () => way[Symbol.asyncDispose](),
        };
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
};
