import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "../../backends/memory.ts";
import type { Backend, Claim, Grant, Lease, LossReason } from "../../internal/backend.ts";

const call = { signal: new AbortController().signal, timeout: 1000 };
const granted = (token: bigint): Grant => ({ state: "granted", token });
let ids = 0;

function claim(options: Partial<Claim> = {}): Claim {
  return {
    id: `c${++ids}`,
    key: "holdfast/k",
    mode: "exclusive",
    limit: 1,
    ttl: 1000,
    metadata: undefined,
    client: "m",
    steal: false,
    wait: true,
    progress: "new",
    ...options,
  };
}

async function open(): Promise<{ clock: { at: number }; store: Backend; lease: Lease; lost: string[] }> {
  const clock = { at: 0 };
  const store = memory({ clock: { now: () => clock.at } });
  const lost: string[] = [];
  const request = {
    ttl: 1000,
    client: "m",
    lost: (why: LossReason, id?: string) => lost.push(`${why} ${id}`),
  };
  return { clock, store, lease: await store.lease(request, call), lost };
}

test("a waiter is handed the lock inside the release, in order, with a greater token", async () => {
  const { lease } = await open();
  const [first, second, third] = [claim(), claim(), claim()];
  assert.deepEqual(await lease.attempt(first, call), granted(1n));
  assert.equal((await lease.attempt(second, call)).state, "contended");
  assert.equal((await lease.attempt(third, call)).state, "contended");
  const woken = lease.changed(second, call);
  assert.equal(await lease.release(first, call), true);
  assert.equal(await lease.release(first, call), false);
  assert.deepEqual(await woken, granted(2n));
  await lease.release(second, call);
  assert.deepEqual(
    await lease.changed(third, call),
    granted(3n),
    "a change before the question is not missed",
  );
});

test("a claim that does not wait leaves no place", async () => {
  const { store, lease } = await open();
  const first = claim();
  await lease.attempt(first, call);
  assert.equal((await lease.attempt(claim({ wait: false }), call)).state, "contended");
  assert.deepEqual((await store.list("holdfast/k", call)).map(({ id }) => id), [first.id]);
});

test("what is not renewed expires, waiters too, and is never revived", async () => {
  const { clock, lease } = await open();
  const [first, second, third] = [claim(), claim(), claim()];
  for (const each of [first, second, third]) {
    await lease.attempt(each, call);
    each.progress = "entered";
  }
  clock.at = 999;
  assert.equal((await lease.renew([third], call)).get(third.id)?.state, "contended");
  clock.at = 1000;
  assert.deepEqual(await lease.attempt(third, call), granted(3n));
  assert.deepEqual(await lease.attempt(first, call), { state: "gone", why: "expired" });
  assert.deepEqual(await lease.changed(second, call), { state: "gone", why: "expired" });
});

// Red if: claims are looked up before any of them is given more time.
test("one that runs out while many are renewed is either renewed or gone", async () => {
  const clock = { at: 0, step: 0 };
  const store = memory({ clock: { now: () => clock.at += clock.step } });
  const lease = await store.lease({ ttl: 1000, client: "m", lost: () => {} }, call);
  const [first, second] = [claim(), claim()];
  await lease.attempt(first, call);
  clock.at = 500;
  await lease.attempt(second, call);
  first.progress = second.progress = "entered";
  Object.assign(clock, { at: 998, step: 1 });
  const outcomes = await lease.renew([first, second], call);
  clock.step = 0;
  const holders = (await store.list("holdfast/k", call)).filter(({ held }) => held);
  const granted = [first, second].filter(({ id }) => outcomes.get(id)?.state === "granted");
  assert.deepEqual(granted.map(({ id }) => id), holders.map(({ id }) => id));
});

test("readers and permits hold together as the queue rule says", async () => {
  const { store, lease } = await open();
  const shared = { mode: "shared", limit: Infinity } as const;
  for (
    const each of [claim(shared), claim(shared), claim({ limit: 3 }), claim({ limit: 3 }), claim(shared)]
  ) {
    await lease.attempt(each, call);
  }
  const held = (await store.list("holdfast/", call)).map((entry) => entry.held);
  assert.deepEqual(held, [true, true, true, false, false]);
});

test("a thief holds at once; the holder is told, a waiter finds out", async () => {
  const { store, lease, lost } = await open();
  const [holder, waiter, thief] = [claim(), claim(), claim({ steal: true })];
  for (const each of [holder, waiter]) {
    await lease.attempt(each, call);
    each.progress = "entered";
  }
  const woken = lease.changed(waiter, call);
  assert.deepEqual(await lease.attempt(thief, call), granted(3n));
  assert.deepEqual(lost, [`stolen ${holder.id}`]);
  assert.deepEqual(await woken, { state: "gone", why: "stolen" });
  assert.deepEqual(await lease.attempt(waiter, call), { state: "gone", why: "stolen" });
  assert.deepEqual((await store.list("holdfast/k", call)).map(({ id }) => id), [thief.id]);
});

test("closing a lease hands on what it held", async () => {
  const { store, lease } = await open();
  const other = await store.lease({ ttl: 1000, client: "n", lost() {} }, call);
  const [first, second] = [claim(), claim()];
  await lease.attempt(first, call);
  await other.attempt(second, call);
  const woken = other.changed(second, call);
  await lease.close(call);
  assert.deepEqual(await woken, granted(2n));
  assert.deepEqual(await lease.attempt(claim(), call), { state: "gone", why: "revoked" });
});

test("a watch hears of every change until it is disposed of", async () => {
  const { store, lease } = await open();
  let heard = 0;
  const watch = await store.watch("holdfast/k", { changed: () => heard++, failed() {} }, call);
  const first = claim();
  await lease.attempt(first, call);
  await lease.attempt(claim({ key: "holdfast/other" }), call);
  assert.equal(heard, 1);
  await lease.release(first, call);
  assert.equal(heard, 2);
  await watch[Symbol.asyncDispose]();
  await lease.attempt(claim(), call);
  assert.equal(heard, 2);
});
