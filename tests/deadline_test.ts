/** The deadline D, in virtual time: what the clocks say decides, whatever the timers do. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { heartbeat, provenFor } from "../internal/deadline.ts";
import { type Lock, LockLostError } from "../mod.ts";
import type { FaultyBackend } from "./conformance/faulty.ts";
import { settle, TTL, world } from "./virtual.ts";

function expired(reason: unknown): boolean {
  return reason instanceof LockLostError && reason.why === "expired";
}

/** Nothing is renewed from now on. */
function silence(store: FaultyBackend): void {
  store.rule = (verb) => verb === "renew" || verb === "attempt" ? "refuse" : "pass";
}

describe("the deadline", () => {
  // Goes red if: `p` or `m` is left out of D, or D counts the whole ttl.
  test("leaves room for clocks that drift apart and for slack", async () => {
    const { locks } = world();
    const lock = await locks.acquire("k");
    assert.ok(lock.remaining < TTL - TTL / 1_000 - 50, `${lock.remaining} ms of ${TTL} keep nothing in hand`);
    assert.ok(lock.remaining > TTL * 0.9, `${lock.remaining} ms of ${TTL} give too much away`);
  });

  // Goes red if: the timer behind the signal is left out, or set for the ttl.
  test("aborts the signal when it is reached, not before and not later", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k");
    silence(store);
    const { signal } = lock;
    const left = lock.remaining;
    await clock.pass(left - 1);
    assert.ok(!signal.aborted && lock.held);
    await clock.pass(1);
    assert.ok(signal.aborted && expired(signal.reason));
    assert.deepEqual([lock.held, lock.remaining], [false, 0]);
  });

  // Goes red if: D moves by the time of the reply, or by one that never came.
  test("counts from the send of the last acknowledged renewal", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k");
    const full = lock.remaining;
    await clock.pass(1_000);
    const gate = Promise.withResolvers<void>();
    store.rule = (verb) => verb === "renew" ? gate.promise : "pass";
    const renewing = lock.renew();
    await clock.pass(700); // the reply is on its way
    assert.equal(lock.remaining, full - 1_700);
    gate.resolve();
    await renewing;
    assert.equal(lock.remaining, full - 700);
  });

  // Goes red if: the reply of an older renewal takes back what a newer one proved.
  test("never moves back", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k");
    const full = lock.remaining;
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let sent = 0;
    store.rule = (verb) => verb === "renew" ? gates[sent++]?.promise : "pass";
    const older = lock.renew();
    await clock.pass(300);
    const newer = lock.renew();
    gates[1]!.resolve();
    await newer;
    assert.equal(lock.remaining, full);
    gates[0]!.resolve();
    await older;
    assert.equal(lock.remaining, full);
  });
});

describe("a process that was stopped or blocked past its deadline", () => {
  // Goes red if: `held`, `remaining` or `signal` trust the timer.
  test("learns it by whatever it reads first, before any timer has run", async () => {
    const reads: ((lock: Lock, signal: AbortSignal) => void)[] = [
      (lock) => assert.equal(lock.held, false),
      (lock) => assert.equal(lock.remaining, 0),
      (lock) => assert.ok(expired(lock.signal.reason)),
      (lock) => assert.ok(lock.signal.aborted),
      (lock) => assert.throws(() => lock.signal.throwIfAborted(), expired),
      (_, signal) => assert.ok(signal.aborted),
      (_, signal) => assert.throws(() => signal.throwIfAborted(), expired),
    ];
    for (const read of reads) {
      const { clock, locks } = world();
      const lock = await locks.acquire("k");
      const { signal } = lock;
      let aborts = 0;
      signal.addEventListener("abort", () => aborts++);
      clock.block(TTL);
      read(lock, signal);
      assert.equal(aborts, 1, "whoever listens has been told");
      assert.ok(signal.aborted && expired(signal.reason) && !lock.held);
      assert.equal(aborts, 1, "once");
    }
  });

  // Goes red if: a renewal that the store has acknowledged moves a deadline that has passed.
  test("cannot renew its way back", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k");
    await clock.pass(1_000);
    const gate = Promise.withResolvers<void>();
    store.rule = (verb) => verb === "renew" ? gate.promise : "pass";
    const renewing = lock.renew(); // good for a ttl from here
    clock.block(TTL - 1_000);
    gate.resolve();
    await assert.rejects(renewing, expired);
    await assert.rejects(lock.renew(), expired);
    assert.equal(await lock.release(), false);
  });

  // Goes red if: a grant is believed without a look at the clock.
  test("is not given a lock whose grant came too late", async () => {
    const { clock, locks, store } = world();
    const gate = Promise.withResolvers<void>();
    let first = true;
    store.rule = (verb) => {
      if (verb !== "attempt" || !first) return "pass";
      first = false;
      return gate.promise;
    };
    const acquiring = locks.acquire("k");
    await store.called("attempt");
    clock.block(TTL); // before the core's own time limit could ring
    gate.resolve();
    await settle();
    await clock.pass(2_000);
    const lock = await acquiring;
    assert.ok(lock.held && lock.remaining > 0 && !lock.signal.aborted);
    assert.equal((await locks.inspect("k"))?.holders.length, 1);
  });
});

describe("a machine that was suspended", () => {
  // Goes red if: the wall clock is not looked at.
  test("counts the time that only the wall clock saw", async () => {
    for (const suspended of [TTL, 3_600_000]) {
      const { clock, locks } = world();
      const lock = await locks.acquire("k");
      const { signal } = lock;
      clock.suspend(suspended);
      assert.equal(lock.held, false);
      assert.ok(signal.aborted && expired(signal.reason));
    }
  });

  // Goes red if: timers are set for longer than half a second.
  test("aborts a signal that nobody reads within half a second of waking up", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k");
    silence(store);
    let aborted = false;
    lock.signal.addEventListener("abort", () => aborted = true);
    await clock.pass(1_000);
    clock.suspend(TTL);
    await clock.pass(500);
    assert.ok(aborted);
    assert.ok(clock.longest <= 500, `a timer was set for ${clock.longest} ms`);
  });

  test("keeps what a short suspension has left of the lock", async () => {
    const { clock, locks } = world();
    const lock = await locks.acquire("k");
    const before = lock.remaining;
    clock.suspend(4_000);
    assert.equal(lock.remaining, before - 4_000);
    await lock.renew();
    assert.equal(lock.remaining, before);
  });

  // Goes red if: a wall clock that was set back is taken for time given back.
  test("a wall clock set back gives no time back, and hides no later suspension", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k");
    silence(store);
    const before = lock.remaining;
    clock.suspend(-3_600_000);
    assert.equal(lock.remaining, before);
    await clock.pass(1_000);
    assert.equal(lock.remaining, before - 1_000);
    clock.suspend(TTL);
    assert.equal(lock.held, false);
  });

  test("a wall clock that is a little off costs nothing", async () => {
    const { clock, locks } = world();
    const lock = await locks.acquire("k");
    const before = lock.remaining;
    for (const step of [15, -10, 14, -100, 19]) {
      clock.suspend(step);
      assert.equal(lock.remaining, before);
    }
  });

  // Goes red if: growth too small to count is forgotten at each look.
  test("short suspensions add up", async () => {
    const { clock, locks } = world();
    const lock = await locks.acquire("k");
    const before = lock.remaining;
    for (let time = 0; time < 10; time++) {
      clock.suspend(15);
      assert.ok(lock.remaining <= before);
    }
    assert.ok(before - lock.remaining > 100, `${before - lock.remaining} ms of 150 have been noticed`);
  });
});

describe("the heartbeat", () => {
  test("keeps a lock for as long as it is wanted", async () => {
    const { clock, locks } = world();
    const lock = await locks.acquire("k");
    await clock.pass(50 * TTL);
    assert.ok(lock.held && lock.remaining > TTL / 2);
  });

  // Goes red if: `renew: false` is renewed all the same.
  test("leaves alone what does not want it", async () => {
    const { clock, locks } = world();
    const kept = await locks.acquire("kept");
    const lock = await locks.acquire("k", { renew: false });
    await clock.pass(TTL);
    assert.ok(kept.held);
    assert.ok(!lock.held && expired(lock.signal.reason));
    assert.equal(await locks.inspect("k"), undefined);
  });

  // Goes red if: a single failed renewal waits for a whole period before the next try.
  test("survives an outage of half the ttl", async () => {
    const { clock, locks, store } = world();
    const lock = await locks.acquire("k");
    await clock.pass(TTL);
    store.rule = () => "refuse";
    await clock.pass(TTL / 2);
    store.heal();
    await clock.pass(TTL);
    assert.ok(lock.held);
  });

  // Goes red if: a renewal that counts late is sent no sooner than one that counts at once.
  test("leaves time for a late renewal, also where each counts only once the next has settled", () => {
    for (const [ttl, tick, least] of [[10_000, 2_000, 4_500], [8_000, 500, 3_500], [4_000, 2_000, 900]]) {
      const period = heartbeat(ttl!, tick!);
      const late = Math.ceil(tick! / period) + 1;
      assert.ok(provenFor(ttl!) - late * period >= least!, `${provenFor(ttl!) - late * period} of ${ttl} ms`);
    }
  });

  test("runs on one timer, and on none once nothing has been held or waited for in a while", async () => {
    const { clock, locks, store } = world();
    const held = await Promise.all(Array.from({ length: 50 }, (_, at) => locks.acquire(`k${at}`)));
    await clock.pass(TTL);
    assert.ok(clock.pending <= 1, `${clock.pending} timers`);
    for (const lock of held) await lock.release();
    const renewals = store.count("renew");
    await clock.pass(4 * TTL);
    assert.equal(clock.pending, 0);
    assert.equal(store.count("renew"), renewals);
  });
});
