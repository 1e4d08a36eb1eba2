/** What `distributedlock` offered, under Holdfast's names, on a real Redis and real Sentinels. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redis } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";
import { RedisSentinels, RedisServer } from "../servers/redis.ts";
import { next } from "../support.ts";

const SLOW = { timeout: 60_000 };

/** How many clients the server has, redis-cli itself aside. */
async function clients(server: RedisServer): Promise<number> {
  return (await server.cli("client", "list")).trim().split("\n").length - 1;
}

test("distributedlock: { key, host, port }", SLOW, async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis({ host: server.host, port: server.port }));
  await using lock = await locks.acquire("key");
  assert.ok(lock.held);
});

test(
  "distributedlock: { key, sentinel }: the master is discovered, the lock survives its failover",
  SLOW,
  async () => {
    await using servers = await RedisSentinels.start();
    const [{ host, port }] = servers.sentinels as [typeof servers.sentinels[number]];
    await using locks = new LockManager(redis({ sentinels: [{ host, port }], name: servers.name }));
    const lock = await locks.acquire("key", { ttl: 30_000 });
    const master = await servers.master();
    await master.replicated();
    await master.kill();
    await servers.promoted(master);
    const renewed = next(lock, "renewed"); // by itself, at its next heartbeat
    await renewed;
    assert.ok(lock.held);
    assert.equal(await lock.release(), true);
  },
);

test(
  "distributedlock: events acquired, released; failed is an error event, listening is waiting",
  SLOW,
  async () => {
    await using server = await RedisServer.start();
    await using first = new LockManager(redis(server.url));
    await using second = new LockManager(redis(server.url), { retryFor: 300 });
    const told: string[] = [];
    for (const type of ["waiting", "acquired", "released", "error"] as const) {
      second.addEventListener(type, ({ key }) => told.push(`${type} ${key}`));
    }
    const lock = await first.acquire("key");
    const waiting = second.acquire("key");
    await next(second, "waiting");
    await lock.release();
    await (await waiting).release();
    assert.deepEqual(told, ["waiting key", "acquired key", "released key"]);
    await server.kill();
    await assert.rejects(second.acquire("key"), { code: "backend" });
    assert.equal(told.at(-1), "error key");
  },
);

test("distributedlock: wakes on release and takes over by itself", SLOW, async () => {
  await using server = await RedisServer.start();
  await using first = new LockManager(redis(server.url));
  await using second = new LockManager(redis(server.url));
  const lock = await first.acquire("key", { ttl: 60_000 });
  const waiting = second.acquire("key", { ttl: 60_000 });
  await next(second, "waiting");
  const released = performance.now();
  await lock.release();
  await using taken = await waiting;
  assert.ok(
    performance.now() - released < 15_000,
    "told, not polled: who is not told hears of it by a renewal, after 20 s",
  );
  assert.ok(taken.held);
});

test("distributedlock: ttl and renewal", SLOW, async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url));
  await using lock = await locks.acquire("key", { ttl: 5_000 });
  await sleep(6_000);
  assert.ok(lock.held, "renewed well before its ttl ran out");
  await using idle = await locks.acquire("idle", { ttl: 300, renew: false });
  await sleep(400);
  assert.ok(!idle.held, "not renewed unless wanted");
});

test("distributedlock: giving up while waiting stops waiting and ends the connection", SLOW, async () => {
  await using server = await RedisServer.start();
  await using first = new LockManager(redis(server.url));
  const second = new LockManager(redis(server.url));
  await using _lock = await first.acquire("key");
  const before = await clients(server);
  const giving = new AbortController();
  const waiting = second.acquire("key", { signal: giving.signal });
  await next(second, "waiting");
  assert.ok(await clients(server) > before);
  giving.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  await second.close();
  while (await clients(server) > before) await sleep(10);
  assert.deepEqual((await first.inspect("key"))?.waiters, []);
});
