/** What the core does behind its callers, in virtual time: places kept, debts paid, calls given up. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LockManager } from "../mod.ts";
import { settle, TTL, world } from "./virtual.ts";

/** Who is there, without a trace of those whose time is up in the store. */
async function there(locks: ReturnType<typeof world>["locks"], key: string): Promise<[string[], string[]]> {
  const seen = await locks.inspect(key);
  const names = (all: readonly { metadata: unknown }[] = []): string[] =>
    all.map(({ metadata }) => `${metadata}`);
  return [names(seen?.holders), names(seen?.waiters)];
}

describe("a place in the queue", () => {
  // Goes red if: the heartbeat keeps holders only.
  test("is kept for as long as it takes", async () => {
    const { clock, locks } = world();
    const long = { ttl: 100 * TTL, metadata: "holder" };
    const holder = await locks.acquire("k", long);
    const first = locks.acquire("k", { metadata: "first" });
    await settle();
    const second = locks.acquire("k", { ...long, metadata: "second" });
    await settle();
    const before = (await locks.inspect("k"))?.waiters.map(({ id }) => id);
    await clock.pass(20 * TTL);
    assert.deepEqual((await locks.inspect("k"))?.waiters.map(({ id }) => id), before, "the very same claims");
    assert.deepEqual(await there(locks, "k"), [["holder"], ["first", "second"]]);
    await holder.release();
    await (await first).release();
    await (await second).release();
  });

  // Goes red if: each that waits asks by itself, though the heartbeat has asked for all of them.
  test("costs no question of its own while the heartbeat has the answer", async () => {
    const { clock, locks, store } = world();
    const holder = await locks.acquire("k");
    const waiting = Array.from({ length: 20 }, () => locks.acquire("k"));
    await settle();
    const [attempts, renewals] = [store.count("attempt"), store.count("renew")];
    await clock.pass(10 * TTL);
    assert.equal(store.count("attempt"), attempts);
    assert.ok(store.count("renew") - renewals <= 31, "one for all, a third of a ttl");
    await holder.release();
    for (const lock of waiting) await (await lock).release();
  });

  // Goes red if: `renew: false` is taken to mean the waiting, too.
  test("is kept for a lock that will not be renewed, and that has its whole ttl then", async () => {
    const { clock, locks } = world();
    const holder = await locks.acquire("k", { metadata: "holder" });
    const waiting = locks.acquire("k", { metadata: "waiter", renew: false });
    await settle();
    await clock.pass(10 * TTL + 3_000);
    assert.deepEqual(await there(locks, "k"), [["holder"], ["waiter"]]);
    await holder.release();
    const lock = await waiting;
    assert.ok(lock.remaining > 0.8 * TTL, `${lock.remaining} ms are left of ${TTL}`);
  });
});

describe("a debt", () => {
  // Goes red if: a call that was not answered uses up the time in which a release is tried again.
  test("of a release that nobody answers is tried again before it is reported", async () => {
    const { clock, store, locks } = world();
    const lock = await locks.acquire("k");
    let calls = 0;
    store.rule = (verb) => verb === "release" && calls++ === 0 ? "hang" : "pass";
    let released: unknown;
    void lock.release().then((was) => released = was, (error) => released = error);
    await clock.pass(TTL);
    assert.equal(released, true);
    assert.equal(calls, 2);
    await locks.close();
  });

  // Goes red if: a failed release is forgotten, or tried again only when the ttl is over.
  test("of a failed release is paid as soon as the store is back", async () => {
    const { clock, locks, store } = world({ retryFor: 0 });
    const kept = await locks.acquire("kept");
    const lock = await locks.acquire("k");
    store.rule = (verb) => verb === "release" ? "refuse" : "pass";
    await assert.rejects(lock.release(), { code: "backend" });
    assert.equal((await locks.inspect("k"))?.holders.length, 1);
    store.heal();
    await clock.pass(TTL / 2);
    assert.equal(await locks.inspect("k"), undefined, "half a ttl later");
    assert.ok(kept.held);
  });

  // Goes red if: a debt is struck off without an answer.
  test("is tried until the store confirms", async () => {
    const { clock, locks, store } = world({ retryFor: 0, ttl: 100 * TTL });
    await locks.acquire("kept");
    const lock = await locks.acquire("k");
    store.rule = (verb) => verb === "release" ? "refuse" : "pass";
    await lock.release().catch(() => {});
    const tries = store.count("release");
    await clock.pass(80 * TTL);
    assert.ok(store.count("release") > tries, "it was tried again");
    assert.equal((await locks.inspect("k"))?.holders.length, 1);
    store.heal();
    await clock.pass(40 * TTL);
    assert.equal(await locks.inspect("k"), undefined);
    const paid = store.count("release");
    await clock.pass(100 * TTL);
    assert.equal(store.count("release"), paid, "and not any more after that");
  });

  // Goes red if: ending the lease is tried once and counts as done.
  test("is not said to be paid by the end of a lease before the store has confirmed that", async () => {
    const { clock, locks, store } = world({ retryFor: TTL }, { timer: "lease" });
    const lock = await locks.acquire("k");
    store.rule = (verb) => verb === "release" || verb === "close" ? "refuse" : "pass";
    let released: boolean | undefined;
    void lock.release().then((was) => released = was);
    await clock.pass(TTL / 10);
    assert.equal(released, undefined, "nothing has arrived");
    assert.equal((await locks.inspect("k"))?.holders.length, 1);
    store.heal();
    await clock.pass(TTL / 5);
    assert.equal(released, true);
    assert.equal(await locks.inspect("k"), undefined);
  });

  // Goes red if: a lock past its deadline is left to the store's own timer.
  test("of a lock that ran out is paid at the deadline, before the store's own time is up", async () => {
    const { clock, locks } = world();
    const lock = await locks.acquire("k", { renew: false });
    await clock.pass(lock.remaining);
    assert.equal(lock.held, false);
    await settle();
    assert.equal(await locks.inspect("k"), undefined);
  });

  // Goes red if: an attempt of unknown outcome is not taken back, or is taken for one that was never sent.
  test("of an attempt whose reply was lost is paid at once", async () => {
    for (const fate of ["lose", "twice"] as const) {
      const { locks, store } = world({ retryFor: 0 });
      await locks.acquire("kept");
      let first = true;
      store.rule = (verb) => {
        if (verb !== "attempt" || !first) return "pass";
        first = false;
        return fate;
      };
      const lock = await locks.acquire("k").catch(() => undefined);
      await lock?.release();
      assert.equal(await locks.inspect("k"), undefined, fate);
    }
  });
});

describe("an acquisition that is given up", () => {
  // No time passes here: nothing that the rejection could have waited for comes to an end.
  // Goes red if: it waits for its call, or for its withdrawal.
  test("rejects before anything else", async () => {
    const { locks, store } = world();
    await locks.acquire("taken");
    store.rule = () => "hang";
    for (const key of ["free", "taken"]) {
      const giving = new AbortController();
      const acquiring = locks.acquire(key, { signal: giving.signal });
      await settle();
      const reason = new Error("enough");
      giving.abort(reason);
      await assert.rejects(acquiring, (error) => error === reason, key);
    }
  });

  // Goes red if: what an abandoned call brings about later is nobody's.
  test("takes back what its last call brings about", async () => {
    const { clock, locks, store } = world();
    const gate = Promise.withResolvers<void>();
    store.rule = (verb) => verb === "attempt" ? gate.promise : "pass";
    const giving = new AbortController();
    const acquiring = locks.acquire("k", { signal: giving.signal });
    await store.called("attempt");
    giving.abort(new Error("enough"));
    await assert.rejects(acquiring);
    assert.equal((await locks.inspect("k"))?.holders.length, 1, "the store has granted it meanwhile");
    gate.resolve();
    await settle();
    await clock.pass(0);
    assert.equal(await locks.inspect("k"), undefined);
  });

  test("leaves no listener on the signal", async () => {
    const { locks } = world();
    const held = await locks.acquire("k");
    const giving = new AbortController();
    let listeners = 0;
    const { signal } = giving;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    const waiting = locks.acquire("k", { signal });
    await settle();
    await held.release();
    await (await waiting).release();
    assert.equal(listeners, 0);
  });
});

// Goes red if: only the claims that the renewal was sent for count as renewed.
test("a lock that is acquired while its lease is being renewed is renewed with it", async () => {
  const { clock, locks, store } = world({}, { timer: "lease" });
  await locks.acquire("before");
  const gate = Promise.withResolvers<void>();
  store.rule = (verb) => verb === "renew" ? gate.promise : "pass";
  await clock.pass(TTL / 3 + 1);
  assert.equal(store.count("renew"), 1);
  const lock = await locks.acquire("k");
  const { remaining } = lock;
  gate.resolve();
  await settle();
  assert.ok(lock.remaining > remaining + TTL / 4, `${lock.remaining} ms, ${remaining} ms before`);
});

// Goes red if: a loss between the grant and the making of the handle is nobody's.
test("a lock that is stolen before its holder has it says so", async () => {
  for (let turns = 0; turns < 30; turns++) {
    const { locks } = world();
    await (await locks.acquire("warm")).release(); // with a lease at hand the store is asked at once
    const acquiring = locks.acquire("k");
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    const thief = await locks.acquire("k", { steal: true });
    await settle();
    const { holders = [], waiters = [] } = await locks.inspect("k") ?? {};
    assert.deepEqual(holders.map(({ id }) => id), [thief.id]);
    if (waiters.length === 0) assert.ok((await acquiring).signal.aborted, `stolen after ${turns} turns`);
    await thief.release();
    await (await acquiring).release();
  }
});

describe("the wait for a store that is away", () => {
  // Goes red if: `retryFor` counts calls, or the time in which the store did answer.
  test("lasts for retryFor, and no longer", async () => {
    const { clock, locks, store } = world({ retryFor: 5_000 });
    store.rule = () => "refuse";
    let failed = false;
    const acquiring = locks.acquire("k").catch((error) => {
      failed = true;
      throw error;
    });
    acquiring.catch(() => {});
    await clock.pass(4_900);
    assert.equal(failed, false);
    await clock.pass(1_200);
    assert.equal(failed, true);
    await assert.rejects(acquiring, { code: "backend", message: /^Cannot / });
  });

  // Goes red if: the caller has to wait for the withdrawal as well, which the store does not answer either.
  test("of 0 ends with the first failure, not with what is cleared up after it", async () => {
    const { locks, store } = world({ retryFor: 0 });
    store.rule = (verb) => verb === "attempt" ? "lose" : verb === "release" ? "hang" : "pass";
    await assert.rejects(locks.acquire("k"), { code: "backend" });
    assert.equal(store.count("release"), 1, "no time has passed");
  });

  test("starts anew after each answer", async () => {
    const { clock, locks, store } = world({ retryFor: 5_000 });
    const held = await locks.acquire("k", { ttl: 100 * TTL });
    const waiting = locks.acquire("k");
    for (let outage = 0; outage < 3; outage++) {
      await clock.pass(TTL);
      store.rule = (verb) => verb === "attempt" || verb === "changed" ? "refuse" : "pass";
      await clock.pass(3_000);
      store.heal();
    }
    await held.release();
    await clock.pass(TTL);
    assert.ok((await waiting).held);
  });

  // Goes red if: the failure is dated from when the waiting began, or from the last look at a clock.
  test("is not shortened by what this process has slept", async () => {
    const { clock, locks, store } = world({ retryFor: 5_000, ttl: 100 * TTL });
    const lease = store.lease.bind(store);
    store.lease = async (request, call) => {
      const opened = await lease(request, call);
      const changed = opened.changed.bind(opened);
      // Only that there is news, not what: it has to be asked for.
      return Object.assign(opened, {
        changed: async (...asked: Parameters<typeof changed>) => void await changed(...asked),
      });
    };
    await using elsewhere = new LockManager(store, { clock, ttl: 100 * TTL });
    const held = await elsewhere.acquire("k");
    const waiting = locks.acquire("k");
    await settle();
    clock.block(60_000); // and the news arrives before any timer has rung
    let refused = 0;
    store.rule = (verb) => verb === "attempt" && refused++ === 0 ? "refuse" : "pass";
    await held.release();
    await settle();
    assert.equal(refused, 1);
    await clock.pass(5_000);
    assert.ok((await waiting).held);
  });

  // Goes red if: each of those who ask for one key waits until all before it have given up.
  test("is not the longer for the others that ask for the same key", async () => {
    const { clock, locks, store } = world({ retryFor: 0 }, { inOrder: false });
    store.rule = (verb) => verb === "attempt" ? "hang" : "pass";
    let rejected = 0;
    for (let n = 0; n < 20; n++) locks.tryAcquire("k").catch(() => rejected++);
    await clock.pass(0.8 * TTL);
    assert.equal(rejected, 20);
  });

  // Goes red if: a silent store is waited for without a limit.
  test("takes a call that is not answered for one that failed", async () => {
    const { clock, locks, store } = world({ retryFor: 0 });
    store.rule = () => "hang";
    const acquiring = assert.rejects(locks.acquire("k"), {
      code: "backend",
      message: /did not answer within/,
    });
    await clock.pass(TTL);
    await acquiring;
  });
});
