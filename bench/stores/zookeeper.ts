import { TICK } from "../../tests/faults/address.ts";
import { HOST } from "../../tests/servers/process.ts";
import { ZooKeeperServer } from "../../tests/servers/zookeeper.ts";
import { distance } from "../harness/distance.ts";
import { javaPeer } from "../peers/build.ts";
import type { Store } from "./store.ts";

/** One server. */
export const zookeeper: Store = {
  name: "zookeeper",
  shortTtl: 4_000,
  longTtl: 600_000,
  contestants: [
    { name: "Holdfast", kind: "ours", module: "holdfast.ts" },
    { name: "a create and a delete", kind: "floor", module: "zookeeper/bare.ts", bare: true },
    { name: "a delete and its watch event", kind: "floor", module: "zookeeper/watch.ts", signal: true },
    {
      name: "Curator's InterProcessMutex",
      kind: "peer",
      language: "java",
      program: (address, ttl) => javaPeer("curator", new URL(address).host, ttl),
      crowd: 1_000,
    },
  ],
  async start() {
    const server = await ZooKeeperServer.start({ tickTime: TICK, config: ["maxSessionTimeout=600000"] });
    const address = (port: number) => `zookeeper://${HOST}:${port}?tickTime=${TICK}`;
    let asked = 0;
    return {
      address: address(server.port),
      pids: [server.process.pid!],
      async version() {
        return /version: ([\d.]+)/.exec(await server.word("srvr"))![1]!;
      },
      async far(ms) {
        const way = await distance(server.port, ms);
        return { address: address(way.port), [Symbol.asyncDispose]: () => way[Symbol.asyncDispose]() };
      },
      async calls() {
        const received = /^zk_packets_received\s+(\d+)/m.exec(await server.word("mntr"))![1];
        return Number(received) - asked++; // each question is one
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  },
};
