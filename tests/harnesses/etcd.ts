import { Etcd3, type IOptions } from "etcd3";
import { etcd } from "../../backends/etcd.ts";
import { readName } from "../../backends/etcd/names.ts";
import { holders } from "../../internal/queue.ts";
import type { Harness } from "../conformance/mod.ts";
import { EtcdCluster, EtcdServer } from "../servers/etcd.ts";
import { HOST } from "../servers/process.ts";
import { partition } from "./partition.ts";

type IPolicy = NonNullable<NonNullable<IOptions["faultHandling"]>["global"]>;

/** One server, shared by all cases. */
export async function harness(): Promise<Harness> {
  const server = await EtcdServer.start();
  return {
    ...over("etcd", server, [server.url]),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** One server, through clients of the package `etcd3` that are handed in, and do each call once. */
export async function clientHarness(): Promise<Harness> {
  const server = await EtcdServer.start();
  const once = { execute: async (call: (context: object) => unknown) => await call({}) } as IPolicy;
  const options = { hosts: server.url, faultHandling: { global: once, host: () => once } };
  const clients: Etcd3[] = [];
  return {
    ...over("etcd, clients handed in", server, [server.url]),
    open() {
      const client = new Etcd3(options);
      clients.push(client);
      return etcd(client);
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Three members, of which each backend is given all. */
export async function clusterHarness(): Promise<Harness> {
  const cluster = await EtcdCluster.start();
  return {
    ...over("etcd, three members", cluster.servers[0]!, cluster.urls),
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

function over(name: string, server: EtcdServer, urls: string[]): Harness {
  return {
    name,
    open: () => etcd(urls),
    revoke: (key) => revoke(server, key),
    partition: () => partition([server], (port) => etcd(`${HOST}:${port}`)),
  };
}

/** Deletes the keys of the holders, as an operator would with `etcdctl del`. */
async function revoke(server: EtcdServer, key: string): Promise<void> {
  const range = {
    key: btoa(`${key}/`),
    range_end: btoa(`${key}0`),
    sort_target: "CREATE",
    sort_order: "ASCEND",
  };
  const { kvs = [] } = await server.rpc("kv/range", range) as { kvs?: { key: string }[] };
  const held = holders(kvs.map(({ key }) => readName(atob(key))));
  for (const { key } of kvs.slice(0, held)) await server.rpc("kv/deleterange", { key });
}
