import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "../../backends/memory.ts";
import type { Backend, Gone, Grant, Lease } from "../../internal/backend.ts";
import { CALL, claim, ENTERED, request } from "../support.ts";

const granted = (token: bigint): Grant => ({ state: "granted", token });

async function open(): Promise<{ clock: { at: number }; store: Backend; lease: Lease; lost: string[] }> {
  const clock = { at: 0 };
  const store = memory({ clock: { now: () => clock.at } });
  const lost: string[] = [];
  const told = ({ why }: Gone, id?: string) => void lost.push(`${why} ${id}`);
  return {
    clock,
    store,
    lease: await store.lease({ ttl: 1000, client: "m", told, warn: () => {} }, CALL),
    lost,
  };
}

test("a waiter is handed the lock inside the release, in order, with a greater token", async () => {
  const { lease } = await open();
  const [first, second, third] = [claim(), claim(), claim()];
  assert.deepEqual(await lease.attempt(first, CALL), granted(1n));
  assert.equal((await lease.attempt(second, CALL)).state, "contended");
  assert.equal((await lease.attempt(third, CALL)).state, "contended");
  const woken = lease.changed(second, CALL);
  assert.equal(await lease.release(first, CALL), true);
  assert.equal(await lease.release(first, CALL), false);
  assert.deepEqual(await woken, granted(2n));
  await lease.release(second, CALL);
  assert.deepEqual(
    await lease.changed(third, CALL),
    granted(3n),
    "a change before the question is not missed",
  );
});

test("a claim that does not wait leaves no place", async () => {
  const { store, lease } = await open();
  const first = claim();
  await lease.attempt(first, CALL);
  assert.equal((await lease.attempt(claim({ wait: false }), CALL)).state, "contended");
  assert.deepEqual((await store.list("holdfast/k", CALL)).map(({ id }) => id), [first.id]);
});

test("what is not renewed expires, waiters too, and is never revived", async () => {
  const { clock, lease } = await open();
  const [first, second, third] = [claim(), claim(), claim()];
  for (const each of [first, second, third]) {
    await lease.attempt(each, CALL);
  }
  clock.at = 999;
  assert.equal((await lease.renew([third], CALL)).get(third.id)?.state, "contended");
  clock.at = 1000;
  assert.deepEqual(await lease.attempt(third, CALL), granted(3n));
  assert.deepEqual(await lease.attempt(first, ENTERED), { state: "gone", why: "expired" });
  assert.deepEqual(await lease.changed(second, CALL), { state: "gone", why: "expired" });
});

// Red if: claims are looked up before any of them is given more time.
test("one that runs out while many are renewed is either renewed or gone", async () => {
  const clock = { at: 0, step: 0 };
  const store = memory({ clock: { now: () => clock.at += clock.step } });
  const lease = await store.lease(request(1000), CALL);
  const [first, second] = [claim(), claim()];
  await lease.attempt(first, CALL);
  clock.at = 500;
  await lease.attempt(second, CALL);
  Object.assign(clock, { at: 998, step: 1 });
  const outcomes = await lease.renew([first, second], CALL);
  clock.step = 0;
  const holders = (await store.list("holdfast/k", CALL)).filter(({ held }) => held);
  const granted = [first, second].filter(({ id }) => outcomes.get(id)?.state === "granted");
  assert.deepEqual(granted.map(({ id }) => id), holders.map(({ id }) => id));
});

test("readers and permits hold together as the queue rule says", async () => {
  const { store, lease } = await open();
  const shared = { limit: Infinity } as const;
  for (
    const each of [claim(shared), claim(shared), claim({ limit: 3 }), claim({ limit: 3 }), claim(shared)]
  ) {
    await lease.attempt(each, CALL);
  }
  const held = (await store.list("holdfast/", CALL)).map((entry) => entry.held);
  assert.deepEqual(held, [true, true, true, false, false]);
});

test("a thief holds at once; the holder is told, a waiter finds out", async () => {
  const { store, lease, lost } = await open();
  const [holder, waiter, thief] = [claim(), claim(), claim({ steal: true })];
  for (const each of [holder, waiter]) {
    await lease.attempt(each, CALL);
  }
  const woken = lease.changed(waiter, CALL);
  assert.deepEqual(await lease.attempt(thief, CALL), granted(3n));
  assert.deepEqual(lost, [`stolen ${holder.id}`]);
  assert.deepEqual(await woken, { state: "gone", why: "stolen" });
  assert.deepEqual(await lease.attempt(waiter, ENTERED), { state: "gone", why: "stolen" });
  assert.deepEqual((await store.list("holdfast/k", CALL)).map(({ id }) => id), [thief.id]);
});

test("closing a lease hands on what it held", async () => {
  const { store, lease } = await open();
  const other = await store.lease(request(1000), CALL);
  const [first, second] = [claim(), claim()];
  await lease.attempt(first, CALL);
  await other.attempt(second, CALL);
  const woken = other.changed(second, CALL);
  await lease.close(CALL);
  assert.deepEqual(await woken, granted(2n));
  assert.deepEqual(await lease.attempt(claim(), CALL), { state: "gone", why: "revoked" });
});

test("a watch hears of every change until it is disposed of", async () => {
  const { store, lease } = await open();
  let heard = 0;
  const watch = await store.watch("holdfast/k", { changed: () => heard++, failed() {} }, CALL);
  const first = claim();
  await lease.attempt(first, CALL);
  await lease.attempt(claim({ key: "holdfast/other" }), CALL);
  assert.equal(heard, 1);
  await lease.release(first, CALL);
  assert.equal(heard, 2);
  await watch[Symbol.asyncDispose]();
  await lease.attempt(claim(), CALL);
  assert.equal(heard, 2);
});
