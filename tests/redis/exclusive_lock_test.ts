/** What `exclusive-lock` offered, under Holdfast's names, on a real Redis. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { redis } from "../../backends/redis.ts";
import { LockManager, type Logger } from "../../mod.ts";
import { Proxy } from "../servers/proxy.ts";
import { RedisServer } from "../servers/redis.ts";
import { next } from "../support.ts";

const SLOW = { timeout: 60_000 };

test("exclusive-lock: a name, an existing connection, a key prefix, contents", SLOW, async () => {
  await using server = await RedisServer.start();
  const connection = new Redis(server.port);
  await using locks = new LockManager(redis(connection), { prefix: "my-app" });
  const lock = await locks.acquire("nightly", { ttl: 30_000, metadata: { host: "one" } });
  assert.match(await server.cli("keys", "*"), /my-app\/\{nightly\}/);
  // Anyone may look, by a connection of their own.
  await using others = new LockManager(redis(server.url), { prefix: "my-app" });
  const [holder] = (await others.inspect("nightly"))!.holders;
  assert.deepEqual(holder!.metadata, { host: "one" });
  assert.ok(holder!.remaining! > 10_000 && holder!.remaining! <= 30_000);
  await lock.release();
  assert.equal(await others.inspect("nightly"), undefined);
  await locks.close();
  assert.equal(await connection.ping(), "PONG", "the connection stays open");
  connection.disconnect();
});

test("exclusive-lock: a ttl that makes no sense is refused", SLOW, async () => {
  await using locks = new LockManager(redis("redis://127.0.0.1:1"));
  await assert.rejects(locks.acquire("k", { ttl: 1 }), RangeError);
  await assert.rejects(locks.acquire("k", { ttl: "3000" as unknown as number }), TypeError);
});

test("exclusive-lock: refreshed from acquisition on", SLOW, async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url));
  const told: string[] = [];
  for (const type of ["acquired", "renewed", "released"] as const) {
    locks.addEventListener(type, () => told.push(type));
  }
  const lock = await locks.acquire("k", { ttl: 6_000 });
  await next(lock, "renewed");
  await next(lock, "renewed");
  await lock.release();
  assert.deepEqual(told, ["acquired", "renewed", "renewed", "released"]);
});

test(
  "exclusive-lock: a failed refresh gives the lock up and is reported, a failed release too",
  SLOW,
  async () => {
    await using server = await RedisServer.start();
    await using proxy = await Proxy.start(server);
    const logged: string[] = [];
    const logger: Logger = { warn: (message) => void logged.push(message) };
    await using locks = new LockManager(redis({ port: proxy.port }), { ttl: 5_000, logger });
    const errors: unknown[] = [];
    locks.addEventListener("error", ({ error }) => errors.push(error));
    const lock = await locks.acquire("k");
    const lost = next<Event & { reason: string }>(lock, "lost");
    proxy.refuse();
    await lost;
    assert.ok(lock.signal.aborted && !lock.held);
    assert.ok(errors.length > 0);
    assert.equal(await lock.release(), false);
    assert.ok(logged.length > 0, "to the logger as well");
    proxy.heal();
  },
);

test("exclusive-lock: release is idempotent, and never removes a successor's lock", SLOW, async () => {
  await using server = await RedisServer.start();
  await using a = new LockManager(redis(server.url));
  await using b = new LockManager(redis(server.url));
  const lock = await a.acquire("k");
  assert.equal(await lock.release(), true);
  assert.equal(await lock.release(), true, "the first answer, repeated");
  const late = await a.acquire("k", { ttl: 200, renew: false });
  await sleep(300);
  await using successor = await b.acquire("k");
  assert.equal(await late.release(), false);
  await successor.renew();
  assert.ok(successor.held);
});

test("exclusive-lock: a refresh that finds no key is a loss, not a refresh", SLOW, async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url));
  const lock = await locks.acquire("k", { ttl: 15_000 }); // so that no refresh comes before the key is gone
  const told: string[] = [];
  for (const type of ["renewed", "lost"] as const) lock.addEventListener(type, () => told.push(type));
  await server.cli("del", "holdfast/{k}");
  await next(lock, "lost");
  assert.deepEqual(told, ["lost"]);
});
