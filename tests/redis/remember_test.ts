/** What is left of a key that nobody uses, and for how long. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { redis } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";
import { ServerClock } from "../servers/clock.ts";
import { RedisServer } from "../servers/redis.ts";

/** Milliseconds until a key ends. */
async function left(server: RedisServer, key: string): Promise<number> {
  return Number((await server.cli("pttl", key)).trim());
}

test("the last token is remembered for as long as was asked, whatever became of the key", async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url, { rememberFor: 60_000 }), { ttl: 10_000 });
  await (await locks.acquire("alone")).release();
  const held = await locks.acquire("crowd");
  const waiting = locks.acquire("crowd");
  while ((await locks.inspect("crowd"))!.waiters.length === 0);
  await held.release();
  await (await waiting).release();
  await using _day = await locks.acquire("day", { ttl: 86_400_000 });
  for (const key of ["alone", "crowd"]) {
    const ms = await left(server, `holdfast/{${key}}`);
    assert.ok(ms > 60_000 && ms <= 3 * 60_000 + 10_000, `${key} ends in ${ms} ms`);
    assert.equal((await server.cli("hkeys", `holdfast/{${key}}`)).trim(), "#");
  }
  assert.ok(await left(server, "holdfast/{day}") > 86_400_000, "a key outlives its claims");
});

test("a longer ttl in the same span is remembered for as long", async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url, { rememberFor: 20_000 }));
  await (await locks.acquire("k", { ttl: 1_000 })).release();
  await using _lock = await locks.acquire("k", { ttl: 3_600_000 });
  assert.ok(await left(server, "holdfast/{k}") > 3_600_000);
  const waiting = new AbortController();
  const abandoned = locks.acquire("k", { ttl: 7_200_000, signal: waiting.signal });
  while ((await locks.inspect("k"))!.waiters.length === 0);
  assert.ok(await left(server, "holdfast/{k}") > 7_200_000);
  waiting.abort();
  await assert.rejects(abandoned);
});

// Red if: whoever enters a queue takes it for granted that those before have told it to stay for long enough.
test("a key outlives its claims whatever others have asked to be remembered", async () => {
  await using server = await RedisServer.start();
  await using brief = new LockManager(redis(server.url, { rememberFor: 1_000 }));
  await using locks = new LockManager(redis(server.url));
  const outlives = async (ttl: number) => assert.ok(await left(server, "holdfast/{k}") > ttl, `${ttl} ms`);
  for (const first of [brief, locks]) {
    await (await first.acquire("k", { ttl: 500 })).release();
    await (await brief.acquire("k", { ttl: 500 })).release();
    const held = await locks.acquire("k", { ttl: 120_000 });
    await outlives(120_000);
    const next = brief.acquire("k", { ttl: 60_000 });
    while ((await locks.inspect("k"))!.waiters.length < 1);
    const last = locks.acquire("k", { ttl: 240_000 });
    while ((await locks.inspect("k"))!.waiters.length < 2);
    await outlives(240_000);
    await held.release();
    await (await next).release();
    await (await last).renew();
    await outlives(240_000);
    await (await last).release();
    await server.cli("del", "holdfast/{k}");
  }
});

test("while it is remembered, tokens rise although the server's clock falls back", async () => {
  const clock = await ServerClock.create();
  await using server = await RedisServer.start({ env: clock.env });
  await using locks = new LockManager(redis(server.url));
  const tokens: bigint[] = [];
  for (let n = 0; n < 3; n++) {
    // Alone, and in a crowd.
    let lock = await locks.acquire("k");
    tokens.push(lock.token);
    await lock.release();
    clock.step(-10_000);
    lock = await locks.acquire("k");
    tokens.push(lock.token);
    const waiting = locks.acquire("k");
    while ((await locks.inspect("k"))!.waiters.length === 0);
    await lock.release();
    lock = await waiting;
    tokens.push(lock.token);
    await lock.release();
  }
  assert.deepEqual(tokens, [...new Set(tokens)].sort((a, b) => a < b ? -1 : 1));
});

test("options that cannot be are refused, and named", () => {
  for (const rememberFor of [0, -1, NaN, 1e15]) {
    assert.throws(() => redis("redis://h", { rememberFor }), { name: "RangeError", message: /rememberFor/ });
  }
  for (const options of [{ rememberFor: "1000" }, { remember: 1_000 }, null, 5]) {
    assert.throws(() => redis("redis://h", options as object), { name: "TypeError" });
  }
});
