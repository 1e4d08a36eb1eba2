import { zookeeper } from "../../backends/zookeeper.ts";
import type { Harness } from "../conformance/mod.ts";
import { HOST } from "../servers/process.ts";
import { ZooKeeperEnsemble, ZooKeeperServer } from "../servers/zookeeper.ts";
import { Operator } from "../zookeeper/operator.ts";
import { partition } from "./partition.ts";

const tickTime = 500;
/** Left alone, a server cuts a ttl to 20 ticks. */
const SERVER = { tickTime, config: ["maxSessionTimeout=60000"] };

/** One server, shared by all cases. */
export async function harness(): Promise<Harness> {
  const server = await ZooKeeperServer.start(SERVER);
  return {
    ...over("zookeeper", server, server.address),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Three members, of which each backend is given all. */
export async function ensembleHarness(): Promise<Harness> {
  const ensemble = await ZooKeeperEnsemble.start(SERVER);
  return {
    ...over("zookeeper, three members", ensemble.servers[0]!, `${ensemble.address}/app/locks`, "/app/locks"),
    [Symbol.asyncDispose]: () => ensemble[Symbol.asyncDispose](),
  };
}

function over(name: string, server: ZooKeeperServer, address: string, chroot = ""): Harness {
  return {
    name,
    ttl: 5_000, // a third of it, less tickTime, is what a busy machine may take for a beat
    open: () => zookeeper({ address, tickTime }),
    async revoke(key) {
      await using operator = await Operator.connect(server.address);
      await operator.revoke(key, chroot);
    },
    partition: () =>
      partition([server], (port) => zookeeper({ address: `${HOST}:${port}${chroot}`, tickTime })),
  };
}
