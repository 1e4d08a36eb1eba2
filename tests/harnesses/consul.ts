import { consul } from "../../backends/consul.ts";
import { parse, treeOf } from "../../backends/consul/names.ts";
import { holders } from "../../internal/queue.ts";
import type { Harness } from "../conformance/mod.ts";
import { ConsulCluster, ConsulServer } from "../servers/consul.ts";
import { HOST } from "../servers/process.ts";
import { partition } from "./partition.ts";

/** Each backend object of the suite is another process, and all of them have one address. */
const ROOMY = { limits: { http_max_conns_per_client: 5_000 } };

/** One agent, shared by all cases. */
export async function harness(): Promise<Harness> {
  const server = await ConsulServer.start({ config: ROOMY });
  return {
    ...over("consul", server, () => server.url),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Three servers, which the backends talk to in turn. */
export async function clusterHarness(): Promise<Harness> {
  const cluster = await ConsulCluster.start({ config: ROOMY });
  let turn = 0;
  return {
    ...over("consul, three servers", cluster.servers[0]!, () => cluster.servers[turn++ % 3]!.url),
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

function over(name: string, server: ConsulServer, url: () => string): Harness {
  return {
    name,
    open: () => consul(url()),
    revoke: (key) => revoke(server, key),
    partition: () => partition([server], (port) => consul({ host: HOST, port })),
  };
}

/** Deletes the keys of the holders, as an operator would with `consul kv delete`. */
async function revoke(server: ConsulServer, key: string): Promise<void> {
  const path = `kv/${treeOf("", key)}?recurse&consistent`;
  const queue = await server.api("GET", path) as { Key: string; CreateIndex: number }[];
  queue.sort((a, b) => a.CreateIndex - b.CreateIndex);
  const held = holders(queue.map(({ Key }) => parse("", Key)!));
  for (const { Key } of queue.slice(0, held)) await server.api("DELETE", `kv/${Key}`);
}
