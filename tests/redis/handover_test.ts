/** A release passes the lock to the only other claim of a queue, if that may have it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redis } from "../../backends/redis.ts";
import type { Claim } from "../../internal/backend.ts";
import { RedisServer } from "../servers/redis.ts";
import { CALL, claim, ENTERED, open, SHARED } from "../support.ts";

/** Two claims in a queue, by processes of their own; what the second is told once the first has left. */
async function pass(first: Partial<Claim>, second: Partial<Claim>, ttls = [60_000, 60_000], wait = 0) {
  const server = await RedisServer.start();
  const [mine, theirs] = [redis(server.url), redis(server.url)];
  const [a, b] = [await open(mine, ttls[0]), await open(theirs, ttls[1])];
  const [one, other] = [claim(first), claim(second)];
  await a.lease.attempt(one, CALL);
  const before = await b.lease.attempt(other, CALL);
  const told = b.lease.changed(other, CALL);
  await sleep(wait);
  const released = await a.lease.release(one, ENTERED);
  const left = await theirs.list("holdfast/k", CALL); // by the same connection as what it is told, and after that
  const outcome = await Promise.race([told, sleep(200, undefined)]);
  await Promise.all([mine, theirs, server].map((each) => each[Symbol.asyncDispose]()));
  return { before, released, outcome, left, other };
}

test("it is told its token at once, whatever the two carry with them", async () => {
  for (const first of [{}, { metadata: "1" }]) {
    for (const second of [{}, { metadata: "2" }, SHARED, { limit: 3 }]) {
      const { before, released, outcome, left, other } = await pass(first, second);
      assert.equal(before.state, "contended");
      assert.equal(released, true);
      assert.deepEqual(outcome, { state: "granted", token: left[0]!.token });
      assert.deepEqual(left.map(({ id, metadata }) => [id, metadata]), [[other.id, other.metadata]]);
    }
  }
});

test("one that held already is told nothing", async () => {
  for (const [first, second] of [[SHARED, SHARED], [{ limit: 2 }, { limit: 2 }]] as const) {
    const { before, released, outcome, left } = await pass(first, second);
    assert.equal(before.state, "granted");
    assert.equal(released, true);
    assert.equal(outcome, undefined);
    assert.deepEqual(left.map(({ held }) => held), [true]);
  }
});

test("one that has died is not called", async () => {
  const { released, outcome, left } = await pass({}, {}, [60_000, 200], 300);
  assert.equal(released, true);
  assert.equal(outcome, undefined);
  assert.deepEqual(left, []);
});

test("a release after the lock has expired was too late, and calls the next all the same", async () => {
  const { before, released, outcome } = await pass({}, {}, [4_000, 60_000], 4_100);
  assert.equal(before.state, "contended");
  assert.equal(released, false);
  assert.equal(outcome?.state, "granted");
});

test("a waiter that leaves changes nothing for who holds", async () => {
  await using server = await RedisServer.start();
  await using backend = redis(server.url);
  const { lease } = await open(backend);
  const [holder, waiter] = [claim(), claim()];
  await lease.attempt(holder, CALL);
  await lease.attempt(waiter, CALL);
  assert.equal(await lease.release(waiter, ENTERED), true);
  const news = await Promise.race([lease.changed(holder, CALL), sleep(200, "nothing")]);
  assert.equal(news, "nothing");
  assert.deepEqual((await backend.list("holdfast/k", CALL)).map(({ id, held }) => [id, held]), [[
    holder.id,
    true,
  ]]);
});
