/** In a Cluster what is said of a key is said by the node of that key, to those alone who listen there. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { redis } from "../../backends/redis.ts";
import type { LockedEvent } from "../../internal/events.ts";
import { LockManager } from "../../mod.ts";
import { RedisCluster, type RedisServer } from "../servers/redis.ts";
import { next, waiter } from "../support.ts";

const cluster = await RedisCluster.start();
after(() => cluster[Symbol.asyncDispose]());

const open = () => new LockManager(redis({ cluster: [cluster.url] }));

/** How many messages the nodes have sent each other because somebody published. */
async function broadcast(): Promise<number> {
  const all = cluster.servers.map((server) => server.cli("cluster", "info"));
  return (await Promise.all(all))
    .map((info) => Number(/messages_publish_sent:(\d+)/.exec(info)?.[1] ?? 0))
    .reduce((a, b) => a + b);
}

test("hand-overs and watches are published to no other node", async () => {
  await using a = open();
  await using b = open();
  await using watch = b.watch("k");
  const tokens: bigint[] = [];
  watch.addEventListener("locked", (event) => tokens.push((event as LockedEvent).token));
  await watch.ready;
  let lock = await a.acquire("k");
  const before = await broadcast();
  const since = performance.now();
  const granted: bigint[] = [];
  for (let n = 0; n < 20; n++) {
    const waiting = (n % 2 ? a : b).acquire("k", { metadata: { n } });
    while ((await b.inspect("k"))!.waiters.length === 0);
    assert.equal(await lock.release(), true);
    lock = await waiting;
    granted.push(lock.token);
  }
  const unlocked = next(watch, "unlocked");
  await lock.release();
  await unlocked;
  assert.ok(granted.includes(tokens.at(-1)!));
  // An echo now and then, every five seconds, of each of the two, to two nodes, is all that goes to everybody.
  const sent = await broadcast() - before;
  const echoes = 2 + Math.floor((performance.now() - since) / 5_000);
  assert.ok(sent <= 4 * echoes, `${sent} messages`);
});

test("a slot that moves takes its queue with it, and those who wait and watch hear of it there", async () => {
  await using a = open();
  await using b = open();
  await moves(a, b, "moving");
});

for (const version of ["redis", "redis-5", "redis-4"]) {
  test(`the same by a client of ${version} that was handed in`, async () => {
    const { createCluster } = await import(version);
    const client = createCluster({ rootNodes: [{ url: cluster.url }] });
    client.on("error", () => {});
    await client.connect();
    try {
      await using a = open();
      await using b = new LockManager(redis(client));
      await moves(a, b, `moving by ${version}`);
    } finally {
      await (client.destroy ? client.destroy() : client.disconnect());
    }
  });
}

/** The second waits and watches while the slot moves. */
async function moves(a: LockManager, b: LockManager, key: string): Promise<void> {
  await using watch = b.watch(key);
  await watch.ready;
  const locked = next(watch, "locked");
  const lock = await a.acquire(key);
  await locked; // a hold that no look has seen has no end
  const { lock: waiting } = await waiter(b, key);
  const failed = next(watch, "error");
  await move(`holdfast/{${encodeURIComponent(key)}}`);
  await failed; // the old node no longer says anything
  assert.deepEqual((await a.inspect(key))!.waiters.length, 1);
  await lock.release();
  const second = await waiting;
  assert.ok(second.token > lock.token);
  const unlocked = next(watch, "unlocked");
  await second.release();
  await unlocked;
}

/** Moves the slot of a key, and what is in it, to another master. */
async function move(key: string): Promise<void> {
  const from = await cluster.master(key);
  const to = cluster.servers.find((server) => server !== from)!;
  const slot = (await from.cli("cluster", "keyslot", key)).trim();
  const id = async (server: RedisServer) => (await server.cli("cluster", "myid")).trim();
  await to.cli("cluster", "setslot", slot, "importing", await id(from));
  await from.cli("cluster", "setslot", slot, "migrating", await id(to));
  await from.cli("migrate", to.host, `${to.port}`, "", "0", "5000", "keys", key);
  for (const server of [to, from, ...cluster.servers]) {
    await server.cli("cluster", "setslot", slot, "node", await id(to));
  }
}

test("who may not listen there is refused, and leaves no place", async () => {
  await using other = await RedisCluster.start();
  for (const server of other.servers) {
    await server.cli("acl", "setuser", "app", "on", ">pa55", "~*", "&*", "+@all", "-ssubscribe");
  }
  const at = other.servers.map(({ host, port }) => ({ host, port }));
  await using locks = new LockManager(redis({ cluster: at, username: "app", password: "pa55" }));
  await using lock = await locks.acquire("k");
  await assert.rejects(locks.acquire("k"), { message: /NOPERM.*grant \+ssubscribe/, retryable: false });
  assert.deepEqual((await locks.inspect("k"))!.waiters, []);
  assert.ok(lock.held);
});
