/** Many locks, many waiters: what they cost the server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redis } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";
import { RedisServer } from "../servers/redis.ts";
import { CALL, claim, open } from "../support.ts";

const SLOW = { timeout: 90_000 };

/** Calls of scripts since the last reset. */
async function scripts(server: RedisServer): Promise<number> {
  const stats = await server.cli("info", "commandstats");
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

test("10 000 held locks are renewed in 25 calls", SLOW, async () => {
  await using server = await RedisServer.start();
  await using backend = redis(server.url);
  const { lease } = await open(backend, 600_000);
  const claims = Array.from({ length: 10_000 }, (_, n) => claim({ key: `holdfast/k${n}` }));
  await Promise.all(claims.map((one) => lease.attempt(one, { ...CALL, timeout: 60_000 })));
  await lease.renew(claims.slice(0, 1), CALL);
  await server.cli("config", "resetstat");
  const outcomes = await lease.renew(claims, { ...CALL, timeout: 60_000 });
  assert.equal(outcomes.size, 10_000);
  assert.ok([...outcomes.values()].every(({ state }) => state === "granted"));
  const calls = await scripts(server);
  assert.ok(calls <= 25, `${calls} calls`);
});

test("200 waiters of one key: two scripts a hand-over, and everyone is served in turn", SLOW, async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url), { ttl: 60_000 });
  const first = await locks.acquire("k");
  const served: number[] = [];
  const all = Array.from({ length: 200 }, async (_, n) => {
    const lock = await locks.acquire("k");
    served.push(n);
    await lock.release();
  });
  while ((await locks.inspect("k"))!.waiters.length < 200) await sleep(20);
  await server.cli("config", "resetstat");
  await first.release();
  await Promise.all(all);
  assert.deepEqual(served, Array.from({ length: 200 }, (_, n) => n));
  const calls = await scripts(server);
  assert.ok(calls <= 2 * 201, `${calls} calls for 201 hand-overs`);
});

test("10 000 cycles leave nothing but the memory of tokens, which ends by itself", SLOW, async () => {
  await using server = await RedisServer.start();
  await using locks = new LockManager(redis(server.url));
  await Promise.all(Array.from({ length: 50 }, async (_, worker) => {
    for (let n = 0; n < 200; n++) {
      await using _lock = await locks.acquire(`k${worker % 10}`, { metadata: { n } });
    }
  }));
  const keys = (await server.cli("keys", "*")).trim().split("\n");
  assert.equal(keys.length, 10);
  for (const key of keys) {
    assert.equal((await server.cli("hkeys", key)).trim(), "#");
    const left = Number(await server.cli("ttl", key));
    assert.ok(left > 0 && left <= 3 * 300 + 10, `${key} ends in ${left} s`);
  }
});
