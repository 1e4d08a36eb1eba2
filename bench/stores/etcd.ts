import { EtcdServer } from "../../tests/servers/etcd.ts";
import { http } from "../../tests/servers/http.ts";
import { HOST } from "../../tests/servers/process.ts";
import { distance } from "../harness/distance.ts";
import { goPeer } from "../peers/build.ts";
import type { Store } from "./store.ts";

/** One member. */
export const etcd: Store = {
  name: "etcd",
  shortTtl: 2_000,
  longTtl: 600_000,
  contestants: [
    { name: "Holdfast", kind: "ours", module: "holdfast.ts" },
    { name: "two transactions through etcd3", kind: "floor", module: "etcd/bare.ts", bare: true },
    { name: "a delete and its watch event", kind: "floor", module: "etcd/watch.ts", signal: true },
    { name: "etcd3's Lock", kind: "peer", module: "etcd/etcd3.ts", crowd: 100 },
    {
      name: "Go's concurrency.Mutex",
      kind: "peer",
      language: "go",
      program: (address, ttl) => goPeer("etcd", address.replace("etcd:", "http:"), ttl),
      crowd: 1_000,
    },
  ],
  async start() {
    const server = await EtcdServer.start();
    return {
      address: `etcd://${HOST}:${server.port}`,
      pids: [server.process.pid!],
      version: async () => JSON.parse(await http("GET", `${server.url}/version`)).etcdserver,
      async far(ms) {
        const way = await distance(server.port, ms);
        return {
          address: `etcd://${HOST}:${way.port}`,
          [Symbol.asyncDispose]: () => way[Symbol.asyncDispose](),
        };
      },
      async calls() {
        const metrics = await http("GET", `${server.url}/metrics`);
        const handled = metrics.matchAll(/^grpc_server_handled_total\{.*grpc_code="OK".*\} (\S+)$/gm);
        return [...handled].reduce((sum, [, count]) => sum + Number(count), 0);
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
};
