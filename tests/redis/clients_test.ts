/** Clients that are handed in: whatever their options, and they stay their owner's. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Cluster, Redis } from "ioredis";
import { createClient } from "redis";
import { redis, type RedisClient } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";
import { conformance, sideBySide } from "../conformance/mod.ts";
import { over } from "../harnesses/redis.ts";
import { RedisCluster, RedisServer } from "../servers/redis.ts";

const server = await RedisServer.start();
const cluster = await RedisCluster.start();
const ends: (() => unknown)[] = [
  () => server[Symbol.asyncDispose](),
  () => cluster[Symbol.asyncDispose](),
];

const plain = new Redis(server.port);
const odd = new Redis(server.port, {
  keyPrefix: "tenant:",
  db: 3,
  protocol: 2,
  stringNumbers: true,
  commandTimeout: 5_000,
  enableAutoPipelining: true,
  lazyConnect: true,
  showFriendlyErrorStack: true,
});
const clustered = new Cluster([{ host: cluster.servers[1]!.host, port: cluster.servers[1]!.port }], {
  keyPrefix: "tenant:",
});
const nodeRedis = createClient({ url: server.url });
nodeRedis.on("error", () => {});
await nodeRedis.connect();
ends.push(
  () => plain.disconnect(),
  () => odd.disconnect(),
  () => clustered.disconnect(),
  () => nodeRedis.destroy(),
);

const clients: Record<string, RedisClient> = {
  "ioredis with its defaults": plain,
  "ioredis with odd options": odd,
  "an ioredis Cluster": clustered,
  "node-redis": nodeRedis,
};
const bun =
  (globalThis as { Bun?: { RedisClient: new (url: string) => RedisClient & { close(): void } } }).Bun;
if (bun) {
  const client = new bun.RedisClient(server.url);
  clients["Bun's own"] = client;
  ends.push(() => client.close());
}

after(async () => {
  for (const end of ends.reverse()) await end();
});

for (const [name, client] of Object.entries(clients)) {
  describe(`conformance over a client handed in: ${name}`, () => {
    for (const { group, name: what, run } of sideBySide(conformance(over(name, client)), 32)) {
      test(`${group}: ${what}`, { timeout: 60_000 }, run);
    }
  });
}

test("a client handed in stays open, with the options it had", async () => {
  const client = new Redis(server.port, { keyPrefix: "mine:" });
  {
    await using locks = new LockManager(redis(client));
    await using _lock = await locks.acquire("k");
    assert.match(await server.cli("keys", "mine:*"), /mine:holdfast\/\{k\}/);
  }
  assert.equal(await client.set("still", "works"), "OK");
  assert.equal(client.mode, "normal");
  client.disconnect();
});
