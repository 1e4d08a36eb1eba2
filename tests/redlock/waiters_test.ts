/** Of the claims of one process that wait for a key, one asks the nodes: the first, for all behind it. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { redlock } from "../../backends/redlock.ts";
import { type AcquireOptions, type Lock, LockManager, QuorumError } from "../../mod.ts";
import { Random } from "../simulation/random.ts";
import { CALL, claim, entered, open } from "../support.ts";
import { HOST, until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";
import { Nodes } from "./nodes.ts";

const PATIENT = { timeout: 120_000 };
const OPTIONS = { maxTtl: 60_000 };
const TTL = 60_000;
/** Scripts that the first in line may have run in a second by asking again: twice at three nodes each, at most. */
const ONE = 12;
const nodes = await Nodes.start(3);
after(() => nodes[Symbol.asyncDispose]());

/** So many wait for a key, in this order. */
async function crowd(locks: LockManager, key: string, many: number, options: AcquireOptions = {}) {
  let waiting = 0;
  const count = () => void waiting++;
  locks.addEventListener("waiting", count);
  const all: Promise<Lock>[] = [];
  for (let n = 0; n < many; n++) {
    all.push(locks.acquire(key, options));
    if (n === 0) await until(() => Promise.resolve(waiting === 1), () => "the first does not wait", 30_000);
  }
  await until(() => Promise.resolve(waiting === many), () => `${waiting} of ${many} wait`, 30_000);
  locks.removeEventListener("waiting", count);
  return all;
}

async function spent(during: () => Promise<unknown>): Promise<number> {
  const before = await nodes.scripts();
  await during();
  return await nodes.scripts() - before;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

// Red if each asks for itself (300 or more); or if nobody does, when the end of the holder is not heard of.
test(
  "two hundred who wait cost the nodes no more than one, from the beginning to the end",
  PATIENT,
  async () => {
    await using holder = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
    await using locks = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
    const held = await holder.acquire("many");
    const giving = new AbortController();
    const first = crowd(locks, "many", 1);
    await first;
    const since = performance.now();
    const cost = await spent(async () => {
      const all = await crowd(locks, "many", 200, { signal: giving.signal });
      await sleep(2_000);
      giving.abort();
      for (const { status } of await Promise.allSettled(all)) assert.equal(status, "rejected");
    });
    const seconds = (performance.now() - since) / 1_000;
    assert.ok(cost > 0 && cost < ONE * (seconds + 5), `${cost} scripts in ${seconds} s`);
    await held.release();
    for (const next of await first) await (await next).release();
  },
);

test("they are served in the order in which they have come", PATIENT, async () => {
  await using holder = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
  const held = await holder.acquire("order");
  const all = await crowd(locks, "order", 50);
  const served: number[] = [];
  const each = all.map(async (acquiring, n) => {
    const lock = await acquiring;
    served.push(n);
    await lock.release();
  });
  await held.release();
  await Promise.all(each);
  assert.deepEqual(served, all.map((_, n) => n));
});

test("who gives up hands its turn on, and readers hold together", PATIENT, async () => {
  await using holder = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
  const reading = await holder.acquire("turn", { mode: "shared" });
  const giving = new AbortController();
  const [writer] = await crowd(locks, "turn", 1, { signal: giving.signal });
  const readers = await crowd(locks, "turn", 20, { mode: "shared" }); // behind the writer
  giving.abort();
  await assert.rejects(writer!, { name: "AbortError" });
  const locked = await Promise.all(readers);
  assert.ok(reading.held && locked.every(({ held }) => held));
  await Promise.all([reading, ...locked].map((lock) => lock.release()));
});

test("readers and writers in one line all have their turn", PATIENT, async () => {
  await using holder = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
  await using locks = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
  const held = await holder.acquire("mixed");
  const line: Promise<Lock>[] = [];
  for (
    const mode of ["shared", "exclusive", "shared", "shared", "exclusive", "exclusive", "shared"] as const
  ) {
    line.push(...await crowd(locks, "mixed", 3, { mode }));
  }
  let [reading, writing] = [0, 0];
  const each = line.map(async (acquiring) => {
    const lock = await acquiring;
    if (lock.mode === "shared") reading++;
    else writing++;
    assert.ok(writing === 0 || writing + reading === 1, `${writing} write, ${reading} read`);
    await sleep(1);
    if (lock.mode === "shared") reading--;
    else writing--;
    await lock.release();
  });
  await held.release();
  await Promise.all(each);
});

// Red if what the first has met is not told to those behind: they would fail one after the other, or never.
test("a failure is told to all who wait, and they go on once it is over", PATIENT, async () => {
  await using own = await Nodes.start(3);
  await using holder = new LockManager(redlock(own.urls, OPTIONS), { ttl: TTL });
  await using locks = new LockManager(redlock(own.urls, OPTIONS), { ttl: TTL, retryFor: 1_000 });
  await using patient = new LockManager(redlock(own.urls, OPTIONS), { ttl: TTL, retryFor: 90_000 });
  const held = await holder.acquire("k");
  const all = await crowd(locks, "k", 100); // one after the other would take minutes
  const still = await crowd(patient, "k", 30);
  for (const server of own.servers.slice(1)) server.pause();
  for (const result of await Promise.allSettled(all)) {
    assert.ok(result.status === "rejected" && result.reason instanceof QuorumError, String(result));
  }
  for (const server of own.servers.slice(1)) server.resume();
  await held.release();
  for (const acquiring of still) await (await acquiring).release();
});

// Red if: a second attempt, which has waited for the first, puts a claim in line that is over. All behind it would hang.
test("a claim that was stolen does not stand in line again", PATIENT, async () => {
  await using backend = redlock(nodes.urls, OPTIONS);
  const { lease } = await open(backend);
  const named = { key: "holdfast/ghost" };
  const [holder, robbed, next, last] = [claim(named), claim(named), claim(named), claim(named)];
  assert.equal((await lease.attempt(holder, CALL)).state, "granted");
  for (const one of [robbed, next]) assert.equal((await lease.attempt(one, CALL)).state, "contended");
  const stolen = `0 ${(Date.now() + 60_000) * 1_000} stolen`;
  for (const server of nodes.servers) await server.cli("hset", "holdfast/{ghost}:votes", robbed.id, stolen);
  assert.deepEqual(
    await Promise.all([lease.attempt(robbed, entered(CALL)), lease.attempt(robbed, entered(CALL))]),
    [{ state: "gone", why: "stolen" }, { state: "gone", why: "stolen" }],
  );
  assert.equal((await lease.attempt(last, CALL)).state, "contended");
  await lease.release(holder, entered(CALL));
  for (const one of [next, last]) {
    const granted = async () => (await lease.attempt(one, entered(CALL))).state === "granted";
    await until(granted, () => "nobody is granted a free lock");
    await lease.release(one, entered(CALL));
  }
});

// Red if nobody listens anew: each hand-over takes until somebody looks, half a second and more.
test("when the connections have been cut, those who wait listen anew", PATIENT, async () => {
  const proxies = await Promise.all(nodes.servers.map((server) => Proxy.start(server)));
  const urls = proxies.map(({ port }) => `redis://${HOST}:${port}`);
  await using holder = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
  await using locks = new LockManager(redlock(urls, OPTIONS), { ttl: TTL });
  const held = await holder.acquire("cut");
  const all = await crowd(locks, "cut", 100);
  for (const proxy of proxies) proxy.reset();
  const since = performance.now();
  await held.release();
  for (const acquiring of all) await (await acquiring).release();
  const took = performance.now() - since;
  assert.ok(took < 20_000, `${took} ms`);
  await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
});

// Red if: the turn of one that has given up is lost. A lock that nobody asks for any more is asked for after the ttl.
test("whoever comes, gives up and goes: nobody is forgotten", PATIENT, async () => {
  const managers = [0, 1].map(() => new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL }));
  const random = new Random("come and go");
  let [reading, writing, done] = [0, 0, 0];
  const worker = async (locks: LockManager) => {
    while (done++ < 1_500) {
      const mode = random.whole(0, 3) === 0 ? "exclusive" : "shared";
      const signal = random.whole(0, 2) === 0 ? AbortSignal.timeout(random.whole(1, 20)) : undefined;
      const lock = await locks.acquire("come and go", { mode, signal }).catch(() => undefined);
      if (lock === undefined) continue;
      if (mode === "shared") reading++;
      else writing++;
      assert.ok(writing === 0 || writing + reading === 1, `${writing} write, ${reading} read`);
      if (random.whole(0, 1) === 0) await sleep(1);
      if (mode === "shared") reading--;
      else writing--;
      await lock.release();
    }
  };
  await Promise.all(Array.from({ length: 24 }, (_, n) => worker(managers[n % 2]!)));
  await Promise.all(managers.map((locks) => locks.close()));
});

test("a claim that no node has heard of is given up without a call", PATIENT, async () => {
  await using backend = redlock(nodes.urls, OPTIONS);
  const { lease } = await open(backend);
  const [held, first, behind] = [claim(), claim(), claim()];
  assert.equal((await lease.attempt(held, CALL)).state, "granted");
  assert.equal((await lease.attempt(first, CALL)).state, "contended");
  let least = Infinity; // the first one asks meanwhile, now and then
  for (let time = 0; time < 20; time++) {
    const cost = await spent(async () => {
      const one = claim();
      assert.equal((await lease.attempt(one, CALL)).state, "contended");
      assert.equal(await lease.release(one, entered(CALL)), false);
    });
    least = Math.min(least, cost);
  }
  assert.equal(least, 0);
  assert.equal((await lease.attempt(behind, CALL)).state, "contended");
  assert.equal(await lease.release(behind, entered(CALL)), false);
  // Its end is final, as that of any other.
  assert.equal((await lease.attempt(behind, entered(CALL))).state, "gone");
  await lease.release(first, entered(CALL));
  await lease.release(held, entered(CALL));
});

// Red if each step of an attempt takes as long as all of them may: the core hears nothing, and takes that for a failure.
test("a refusal by slow nodes is told within the time of the call", PATIENT, async () => {
  const proxies = await Promise.all(nodes.servers.map((server) => Proxy.start(server)));
  const urls = proxies.map(({ port }) => `redis://${HOST}:${port}`);
  await using holder = new LockManager(redlock(nodes.urls, OPTIONS), { ttl: TTL });
  const timeout = 4_000;
  const inTime = async (n: number) => {
    await using backend = redlock(urls, OPTIONS);
    const { lease } = await open(backend);
    const warm = claim();
    await lease.attempt(warm, CALL);
    await lease.release(warm, entered(CALL));
    const lock = await holder.acquire(`slow${n}`);
    for (const proxy of proxies) proxy.delay(timeout / 4);
    const since = performance.now();
    const { state } = await lease.attempt(claim({ key: `holdfast/slow${n}` }), { ...CALL, timeout });
    const took = performance.now() - since;
    for (const proxy of proxies) proxy.heal();
    await lock.release();
    assert.equal(state, "contended");
    return took < timeout;
  };
  let tries = 0;
  while (!await inTime(tries++)) assert.ok(tries < 6, "never"); // a machine that stands still is late by itself
  await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
});
