/** What the core does behind its callers, in virtual time: places kept, debts paid, calls given up. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memory } from "../backends/memory.ts";
import { LockManager } from "../mod.ts";
import { settle, TTL, VirtualClock, world } from "./virtual.ts";

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

// Goes red if: the renewal after a gap, which proves nothing until it has settled, is followed by one a period later.
test("where renewals have to settle, a lock outlives a store that answers just in time", async () => {
  const { clock, locks, store } = world({}, { timer: "lease", settle: 500 });
  const lock = await locks.acquire("k");
  store.rule = (verb) => verb === "renew" ? "refuse" : "pass";
  await clock.pass(lock.remaining - 2_200);
  assert.ok(lock.held);
  store.rule = () => "pass";
  await clock.pass(TTL);
  assert.ok(lock.held);
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

describe("one call", () => {
  // Goes red if: a call of a long ttl lasts for as long as failed ones are repeated.
  test("that nobody answers leaves time for another, however long the ttl", async () => {
    for (const verb of ["lease", "attempt"]) {
      const { clock, locks, store } = world({ ttl: 60 * TTL });
      let silent = true;
      store.rule = (asked) => asked === verb && silent ? (silent = false, "hang") : "pass";
      let lock: unknown;
      locks.acquire("k").then((granted) => lock = granted, () => {});
      await clock.pass(0.9 * TTL);
      assert.notEqual(lock, undefined, verb);
    }
  });

  // Goes red if: a renewal waits for a third of the ttl, of which there are three.
  test("of a renewal that nobody answers is soon repeated, however long the ttl", async () => {
    const { clock, locks, store } = world({ ttl: 1_000 * TTL });
    await locks.acquire("k");
    let silent = true;
    store.rule = (asked) => asked === "renew" && silent ? (silent = false, "hang") : "pass";
    await clock.pass(334 * TTL);
    assert.equal(store.count("renew"), 1);
    await clock.pass(10 * TTL);
    assert.equal(store.count("renew"), 2);
  });
});

describe("a great many acquisitions at once", () => {
  // Goes red if: all are sent at once, out of order, or a renewal waits for its turn.
  test("take turns before the store, in order, and nobody else waits for them", async () => {
    const { clock, locks, store } = world();
    const held = await locks.acquire("held");
    const gates: PromiseWithResolvers<void>[] = [];
    store.rule = (verb) => {
      if (verb !== "attempt") return "pass";
      gates.push(Promise.withResolvers());
      return gates.at(-1)!.promise;
    };
    const order: string[] = [];
    const all = Array.from({ length: 2_000 }, async (_, n) => {
      const lock = await locks.acquire(`${n}`);
      order.push(lock.key);
    });
    await settle();
    assert.equal(gates.length, 256);
    const renewals = store.count("renew");
    await clock.pass(TTL / 4);
    await held.renew();
    assert.ok(store.count("renew") > renewals);
    for (let answered = 0; answered < 2_000; answered++) {
      gates[answered]!.resolve();
      if (answered % 100 === 0) await settle();
    }
    await Promise.all(all);
    assert.deepEqual(order, Array.from({ length: 2_000 }, (_, n) => `${n}`));
  });

  // Goes red if: who waits for a turn waits for ever, or longer than it is willing to wait for a store.
  test("are given up after retryFor, at once by their caller, and when the manager is closed", async () => {
    for (const retryFor of [0, 10_000]) {
      const { clock, locks, store } = world({ retryFor });
      store.rule = (verb) => verb === "attempt" ? "hang" : "pass";
      let rejected = 0;
      const giving = new AbortController();
      for (let n = 0; n < 2_000; n++) {
        const signal = n % 2 === 0 ? { signal: giving.signal } : {};
        locks.acquire(`${n}`, signal).catch(() => rejected++);
      }
      await clock.pass(1_000);
      assert.equal(rejected, 0);
      giving.abort(new Error("enough"));
      await settle();
      assert.equal(rejected, 1_000);
      await clock.pass(2 * Math.max(retryFor, TTL / 3));
      assert.equal(rejected, 2_000);
    }
    const { clock, locks, store } = world();
    store.rule = (verb) => verb === "attempt" ? "hang" : "pass";
    let closed = 0;
    for (let n = 0; n < 2_000; n++) locks.acquire(`${n}`).catch(({ code }) => code === "closed" && closed++);
    await clock.pass(100);
    let over = false;
    void locks.close().then(() => over = true);
    await settle();
    assert.equal(closed, 2_000);
    await clock.pass(TTL / 3);
    assert.ok(over);
    assert.equal(clock.pending, 0);
  });

  // Goes red if: a turn is not given back, on whichever way an attempt ends.
  test("leave their turns to others, however they end", async () => {
    const { clock, locks, store } = world({ retryFor: 0 });
    for (const fate of ["refuse", "lose", "hang", "pass"] as const) {
      store.rule = (verb) => verb === "attempt" ? fate : "pass";
      const all = Array.from({ length: 1_500 }, (_, n) => locks.tryAcquire(`${fate} ${n}`).catch(() => {}));
      await clock.pass(2 * TTL);
      for (const lock of await Promise.all(all)) await lock?.release();
    }
    const taken = await locks.acquire("k");
    const waiting = Array.from({ length: 1_500 }, () => locks.acquire("k"));
    await settle();
    await taken.release();
    for (const lock of waiting) await (await lock).release();
  });
});

describe("a heartbeat", () => {
  // Goes red if: what a renewal leaves open is asked about before the next heartbeat may come.
  test("is not held up by the claims that the one before has left open", async () => {
    for (const timer of ["lease", "claim"] as const) {
      const { clock, locks, store } = world({}, { timer });
      const lock = await locks.acquire("k");
      await clock.pass(TTL / 3 - 50); // so that these are not lost before the lock would be
      const open = await Promise.all(Array.from({ length: 100 }, (_, n) => locks.acquire(`open ${n}`)));
      const ids = new Set(open.map(({ id }) => id));
      store.omit = ({ id }) => ids.has(id);
      store.rule = (verb) => verb === "attempt" ? "hang" : "pass";
      await clock.pass(3 * TTL);
      assert.ok(lock.held, timer);
      if (timer === "claim") assert.ok(!open[0]!.held, "what nobody could prove is lost");
    }
  });

  // Goes red if: debts are paid first.
  test("renews before it sends anything else, and whatever becomes of that", async () => {
    const { clock, locks, store } = world({ retryFor: 0 });
    const kept = await locks.acquire("kept");
    const lost = await Promise.all(Array.from({ length: 50 }, (_, n) => locks.acquire(`${n}`)));
    store.rule = (verb) => verb === "release" ? "hang" : "pass";
    for (const lock of lost) lock.release().catch(() => {});
    await clock.pass(TTL / 3 + 100);
    const calls = store.seen.length;
    await clock.pass(TTL / 3);
    assert.equal(store.seen[calls]!.verb, "renew");
    await clock.pass(5 * TTL);
    assert.ok(kept.held);
  });
});

describe("a lease", () => {
  // Goes red if: each lease is kept for ever.
  test("ends when it has not been used for a while", async () => {
    for (const timer of ["lease", "claim"] as const) {
      const { clock, locks, store } = world({}, { timer });
      await (await locks.acquire("k")).release();
      await clock.pass(20_000);
      await (await locks.acquire("k")).release();
      await clock.pass(20_000);
      const lock = await locks.acquire("k");
      await clock.pass(60_000);
      await lock.release();
      assert.equal(store.count("close"), 0, timer);
      await clock.pass(29_000);
      assert.equal(store.count("close"), 0, timer);
      await clock.pass(2_000);
      assert.equal(store.count("close"), 1, timer);
      const renewals = store.count("renew");
      await clock.pass(60_000);
      assert.equal(store.count("renew"), renewals, "nothing is sent for it any more");
      assert.equal(clock.pending, 0, "no timer is left");
      await (await locks.acquire("k")).release();
      await clock.pass(20_000);
      await (await locks.acquire("k")).release();
      await clock.pass(29_000);
      assert.equal(store.count("close"), 1, timer);
      await clock.pass(2_000);
      assert.equal(store.count("close"), 2, timer);
      assert.equal(store.count("lease"), 2, timer);
    }
  });

  // Goes red if: who computes the ttl has a lease for each that ever was.
  test("ends at once if there are many, the one unused for longest first", async () => {
    for (const timer of ["lease", "claim"] as const) {
      const { clock, locks, store } = world({}, { timer });
      for (let ttl = TTL; ttl < TTL + 60; ttl++) {
        await (await locks.acquire("k", { ttl })).release();
        await clock.pass(1);
      }
      assert.equal(store.count("lease") - store.count("close"), 4, timer);
      await (await locks.acquire("k", { ttl: TTL + 59 })).release();
      assert.equal(store.count("lease"), 60, timer);
      const held = await Promise.all(
        Array.from({ length: 60 }, (_, n) => locks.acquire(`${n}`, { ttl: TTL + 100 + n })),
      );
      await Promise.all(held.map((lock) => lock.release()));
      await settle();
      assert.equal(store.count("lease") - store.count("close"), 4, timer);
    }
  });
});

describe("several keys", () => {
  // Goes red if: a lost lock is said to be over before what was left of it is given up.
  test("of which one was lost are released when the others are gone", async () => {
    const { locks, store } = world();
    const gate = Promise.withResolvers<void>();
    const lock = await locks.acquire(["a", "b", "c"]);
    store.rule = (verb) => verb === "release" ? gate.promise : "pass";
    await locks.acquire("b", { steal: true });
    assert.equal(lock.held, false);
    let released: boolean | undefined;
    void lock.release().then((was) => released = was);
    await settle();
    assert.equal(released, undefined);
    gate.resolve();
    await settle();
    assert.equal(released, false);
    for (const key of ["a", "c"]) assert.equal(await locks.inspect(key), undefined);
  });

  // Goes red if: the first that fails ends the waiting for the others.
  test("of which one cannot be released are released when the others are gone", async () => {
    const { clock, locks, store } = world({ retryFor: 0 });
    const gate = Promise.withResolvers<void>();
    const lock = await locks.acquire(["a", "b"]);
    store.rule = (verb, [claim]) =>
      verb !== "release" ? "pass" : claim!.key.endsWith("a") ? "refuse" : gate.promise;
    let over = false;
    const releasing = lock.release().finally(() => over = true);
    releasing.catch(() => {});
    await clock.pass(100);
    assert.equal(over, false);
    gate.resolve();
    await assert.rejects(releasing, { code: "backend" });
    assert.equal(await locks.inspect("b"), undefined);
    store.heal();
    assert.equal(await lock.release(), true);
  });
});

describe("a key that is to stay taken", () => {
  const job = { atLeast: 5 * TTL };

  test("stays so from the grant on, not from the release, and is renewed for as long", async () => {
    for (const timer of ["lease", "claim"] as const) {
      const { clock, locks, store } = world({}, { timer });
      const lock = await locks.acquire("k", job);
      await clock.pass(2 * TTL);
      assert.equal(await lock.release(), true);
      assert.equal(lock.held, false);
      assert.equal(await lock.release(), true, "the answer is repeated");
      await clock.pass(3 * TTL - 1);
      assert.equal((await locks.inspect("k"))?.holders[0]?.id, lock.id, timer);
      await clock.pass(1);
      assert.equal(await locks.inspect("k"), undefined, timer);
      const renewals = store.count("renew");
      await clock.pass(10 * TTL);
      if (timer === "claim") assert.equal(store.count("renew"), renewals);
      assert.equal(store.count("close"), 1, "its lease ends in its turn");
      assert.equal(clock.pending, 0);
    }
  });

  // Goes red if: what the store keeps when the process ends is only what is left since the last renewal.
  test("has its whole ttl from its release on, and again from the closing of its manager", async () => {
    for (const timer of ["lease", "claim"] as const) {
      const { clock, locks, store } = world({}, { timer });
      await using elsewhere = new LockManager(store, { clock });
      const remaining = async () => (await elsewhere.inspect("k"))!.holders[0]!.remaining!;
      const lock = await locks.acquire("k", { ...job, ttl: TTL });
      await clock.pass(TTL / 4);
      assert.ok(await remaining() < 0.8 * TTL, timer);
      await lock.release();
      assert.ok(await remaining() > 0.99 * TTL, timer);
      await clock.pass(TTL / 20); // before the next heartbeat
      assert.ok(await remaining() < 0.96 * TTL, timer);
      await locks.close();
      assert.ok(await remaining() > 0.99 * TTL, timer);
    }
  });

  // Goes red if: nobody asks the store whether there is anything to keep.
  test("is released like any other: a store that is away is an error, and it can be called again", async () => {
    const { clock, locks, store } = world({ retryFor: 0 });
    const lock = await locks.acquire("k", job);
    store.rule = (verb) => verb === "renew" ? "refuse" : "pass";
    const releasing = assert.rejects(lock.release(), { code: "backend" });
    await clock.pass(TTL / 10);
    await releasing;
    assert.equal(lock.held, false);
    assert.equal((await locks.inspect("k"))?.holders[0]?.id, lock.id, "it stays meanwhile");
    store.heal();
    assert.equal(await lock.release(), true);
    assert.equal(await lock.release(), true);
  });

  // Goes red if: a closed manager goes on keeping it.
  test("is not asked after any more when its manager is closed", async () => {
    const { clock, locks, store } = world({ retryFor: 0 });
    const lock = await locks.acquire("k", job);
    store.rule = (verb) => verb === "renew" ? "refuse" : "pass";
    await assert.rejects(lock.release(), { code: "backend" });
    await locks.close();
    const calls = store.seen.length;
    store.heal();
    await assert.rejects(lock.release(), { code: "backend", retryable: false, message: /left to its ttl/ });
    await clock.pass(10 * TTL);
    assert.equal(store.seen.length, calls);
    assert.equal(clock.pending, 0);
  });

  // Goes red if: the deadline of a lock that is over takes its claim out of the store.
  test("stays so through an outage that the claim survives", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k", job);
    await lock.release();
    store.rule = (verb) => verb === "renew" ? "lose" : "pass";
    await clock.pass(2 * TTL);
    store.heal();
    assert.equal((await locks.inspect("k"))?.holders[0]?.id, lock.id);
  });

  // Goes red if: a failed release at the end of the time is forgotten.
  test("is freed when the store is back, if it was away at the time", async () => {
    const { clock, locks, store } = world();
    await (await locks.acquire("k", job)).release();
    store.rule = (verb) => verb === "release" ? "refuse" : "pass";
    await clock.pass(5 * TTL);
    store.heal();
    await clock.pass(TTL);
    assert.equal(await locks.inspect("k"), undefined);
  });

  // Goes red if: a lock that was lost stays, or its release says that it was not.
  test("does not stay when its lock was lost", async () => {
    const { clock, locks } = world();
    const lock = await locks.acquire("k", job);
    const thief = await locks.acquire("k", { steal: true });
    assert.equal(await lock.release(), false);
    await thief.release();
    assert.equal(await locks.inspect("k"), undefined);
    const late = await locks.acquire("k", job);
    clock.block(2 * TTL);
    assert.equal(await late.release(), false);
    await settle();
    assert.equal(await locks.inspect("k"), undefined);
  });

  test("can be stolen, and frees what nobody relies on", async () => {
    const { clock, locks } = world();
    await (await locks.acquire("k", job)).release();
    await (await locks.acquire("k", { steal: true })).release();
    assert.equal(await locks.inspect("k"), undefined);
    await clock.pass(4 * TTL);
    assert.equal(clock.pending, 0, "its alarm has gone with it");
  });

  // Goes red if: closing ends the lease, or goes on renewing.
  test("is left to its ttl when the manager is closed, debts are not", async () => {
    for (const timer of ["lease", "claim"] as const) {
      const { clock, locks, store } = world({ retryFor: 0 }, { timer });
      await using elsewhere = new LockManager(store, { clock });
      const lock = await locks.acquire("k", job);
      const held = await locks.acquire("held", job);
      await lock.release();
      store.rule = (verb) => verb === "attempt" ? "lose" : verb === "release" ? "refuse" : "pass";
      await assert.rejects(locks.acquire("owed"));
      await settle();
      store.heal();
      await locks.close();
      assert.equal(await elsewhere.inspect("owed"), undefined);
      assert.equal(held.held, false);
      assert.equal(store.count("close"), 0);
      for (const key of ["k", "held"]) assert.equal((await elsewhere.inspect(key))?.holders.length, 1, key);
      await clock.pass(TTL);
      for (const key of ["k", "held"]) assert.equal(await elsewhere.inspect(key), undefined, key);
    }
  });

  // Goes red if: it is taken for a lock, or its heartbeat for that of one.
  test("keeps no process alive", async () => {
    const clock = new VirtualClock();
    let kept = true;
    const timer = clock.timer.bind(clock);
    clock.timer = (ms, wake) => {
      kept = true;
      return { ...timer(ms, wake), ref: () => void (kept = true), unref: () => void (kept = false) };
    };
    const locks = new LockManager(memory({ clock }), { clock, ttl: TTL });
    const lock = await locks.acquire("k", job);
    assert.equal(kept, true);
    await lock.release();
    await clock.pass(TTL);
    assert.equal(kept, false);
    assert.equal((await locks.inspect("k"))?.holders.length, 1);
    await locks.close();
  });
});
