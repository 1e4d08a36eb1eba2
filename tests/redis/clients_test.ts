/** Clients that are handed in keep every promise, whatever their options, and they stay their owner's. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Redis } from "ioredis";
import Redis4 from "ioredis-4";
import { createCluster, RESP_TYPES } from "redis";
import { createClientPool as createClientPool5 } from "redis-5";
import { redis, type RedisClient } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";
import { type Case, conformance, sideBySide } from "../conformance/mod.ts";
import { over } from "../harnesses/redis.ts";
import { RedisCluster, RedisServer } from "../servers/redis.ts";

const [server, cluster] = await Promise.all([RedisServer.start(), RedisCluster.start()]);
const { host, port } = server;
const node = { host: cluster.servers[1]!.host, port: cluster.servers[1]!.port };
const ends: (() => unknown)[] = [
  () => server[Symbol.asyncDispose](),
  () => cluster[Symbol.asyncDispose](),
];
after(async () => {
  for (const end of ends.reverse()) await end();
});

const typeMapping = { [RESP_TYPES.NUMBER]: String, [RESP_TYPES.BLOB_STRING]: Buffer };

const odd = new Redis4({
  host,
  port,
  keyPrefix: "tenant:",
  db: 3,
  stringNumbers: true,
  commandTimeout: 5_000,
  enableAutoPipelining: true,
  lazyConnect: true,
  showFriendlyErrorStack: true,
});
const pool5 = createClientPool5({
  socket: { host, port },
  database: 2,
  RESP: 3,
  commandOptions: { typeMapping },
});
const cluster6 = createCluster({
  rootNodes: [{ socket: node }],
  keyPrefix: "other:",
  RESP: 2,
  minimizeConnections: true,
  useReplicas: true,
  commandOptions: { typeMapping, asap: true },
});
for (const client of [pool5, cluster6]) await client.on("error", () => {}).connect();
ends.push(
  () => odd.disconnect(),
  () => pool5.destroy(),
  () => cluster6.destroy(),
);

const clients: Record<string, RedisClient> = {
  "ioredis 4 with odd options": odd,
  "node-redis 5, a pool with odd options": pool5,
  "node-redis 6, a Cluster with odd options": cluster6,
};
const bun =
  (globalThis as { Bun?: { RedisClient: new (url: string) => RedisClient & { close(): void } } }).Bun;
if (bun) {
  const client = new bun.RedisClient(`${server.url}/5`);
  clients["Bun's own"] = client;
  ends.push(() => client.close());
}

describe("conformance over a client handed in", () => {
  const all = Object.entries(clients).map(([name, client]) =>
    conformance(over(name, client)).map((one): Case => ({ ...one, group: `${name}: ${one.group}` }))
  );
  // One of each in turn, since cases of the same kind take the same time.
  const cases = all[0]!.flatMap((_, at) => all.map((some) => some[at]!));
  for (const { group, name, run } of sideBySide(cases, 24)) {
    test(`${group}: ${name}`, { timeout: 60_000 }, run);
  }
});

test("a client handed in stays open, with the options it had", async () => {
  const client = new Redis({ host, port, keyPrefix: "mine:" });
  {
    await using locks = new LockManager(redis(client));
    await using _lock = await locks.acquire("k");
    assert.match(await server.cli("keys", "mine:*"), /mine:holdfast\/\{k\}/);
  }
  assert.equal(await client.set("still", "works"), "OK");
  assert.equal(client.mode, "normal");
  client.disconnect();
});
