import { Nodes } from "../../tests/redlock/nodes.ts";
import { HOST } from "../../tests/servers/process.ts";
import { disposeAll } from "../../tests/servers/server.ts";
import { distance } from "../harness/distance.ts";
import { goPeer } from "../peers/build.ts";
import type { Store } from "./store.ts";

/** Five servers, on the machine of their client here, which they are nowhere else. */
export const redlock: Store = {
  name: "redlock",
  shortTtl: 2_000,
  longTtl: 10_000,
  contestants: [
    { name: "Holdfast", kind: "ours", module: "holdfast.ts" },
    { name: "SET NX PX and a script, at one node", kind: "floor", module: "redis/bare.ts", bare: true },
    { name: "the same, at three nodes at once", kind: "peer", module: "redis/bare_three.ts", bare: true },
    { name: "redlock", kind: "peer", module: "redis/redlock.ts", crowd: 10 },
    { name: "@sesamecare-oss/redlock", kind: "peer", module: "redis/sesamecare.ts", crowd: 10 },
    { name: "redis-semaphore", kind: "peer", module: "redis/redis_semaphore.ts", crowd: 10 },
    {
      name: "redsync",
      kind: "peer",
      language: "go",
      program: (address, ttl) => goPeer("redsync", addressesOf(address), ttl),
      crowd: 10,
    },
  ],
  async start() {
    const nodes = await Nodes.start(5);
    const address = (servers: readonly { port: number }[]) =>
      `redlock://${servers.map(({ port }) => `${HOST}:${port}`).join(",")}?maxTtl=10000`;
    return {
      address: address(nodes.servers),
      pids: nodes.servers.map(({ process }) => process.pid!),
      async version() {
        return /redis_version:(\S+)/.exec(await nodes.servers[0]!.cli("info", "server"))![1]!;
      },
      async far(ms) {
        const ways = await Promise.all(nodes.servers.map(({ port }) => distance(port, ms)));
        return { address: address(ways), [Symbol.asyncDispose]: () => disposeAll(ways) };
      },
      calls: () => nodes.scripts(),
      [Symbol.asyncDispose]: () => nodes[Symbol.asyncDispose](),
    };
  },
};

/** What is in a URL of ours, as redsync takes it. */
function addressesOf(url: string): string {
  return url.replace(/^redlock:\/\/|\?.*/g, "").split(",").map((place) => `redis://${place}`).join();
}
