/** Leader election: one leader at a time, term after term. */
import assert from "node:assert/strict";
import process from "node:process";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { memory } from "../backends/memory.ts";
import { type BackendError, type Lock, LockLostError, LockManager, type WaitingEvent } from "../mod.ts";
import { next } from "./conformance/actions.ts";
import { FaultyBackend } from "./conformance/faulty.ts";
import { world } from "./virtual.ts";

/** Resolves when the signal aborts. */
function aborted(signal: AbortSignal): Promise<unknown> {
  if (signal.aborted) return Promise.resolve(signal.reason);
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(signal.reason), { once: true });
  });
}

describe("a campaign", () => {
  test("leads under a held lock, and resolves once it is stopped and the term is over", async () => {
    await using locks = new LockManager(memory());
    const stop = new AbortController();
    let leaving = false;
    let term: Lock | undefined;
    const done = locks.campaign("job", { signal: stop.signal, metadata: "me" }, async (lock, signal) => {
      term = lock;
      assert.ok(lock.held && !signal.aborted);
      assert.equal(lock.key, "job");
      queueMicrotask(() => stop.abort("enough"));
      assert.equal(await aborted(signal), "enough");
      assert.ok(lock.held, "the term is not over before lead has come to its end");
      await Promise.resolve();
      leaving = true;
    });
    assert.equal(await done, undefined);
    assert.ok(leaving, "lead was waited for");
    assert.equal(term?.held, false);
    assert.equal(await locks.inspect("job"), undefined);
  });

  // Goes red if: a second campaigner leads without the lock.
  test("has one leader at a time; who resigns stands again at the tail", async () => {
    const store = memory();
    const managers = ["a", "b", "c"].map((name) => ({ name, locks: new LockManager(store) }));
    const stop = new AbortController();
    const leaders: string[] = [];
    let leading = 0;
    const tokens: bigint[] = [];
    await Promise.all(
      managers.map(({ name, locks }) =>
        locks.campaign("job", { signal: stop.signal }, async (term) => {
          assert.equal(++leading, 1);
          tokens.push(term.token);
          if (leaders.length === 0) { // until the others stand behind the first leader
            while ((await locks.inspect("job"))?.waiters.length !== 2) await Promise.resolve();
          }
          leaders.push(name);
          leading--;
          if (leaders.length === 9) stop.abort();
        })
      ),
    );
    assert.equal(
      new Set(leaders.slice(0, 3)).size,
      3,
      `each of them leads before one leads again: ${leaders}`,
    );
    assert.deepEqual(tokens, tokens.toSorted((a, b) => a < b ? -1 : 1));
    for (const { locks } of managers) await locks.close();
  });

  // Goes red if: a loss ends the campaign, or lead is not told.
  test("a loss ends the term, and it stands again", async () => {
    const store = memory();
    await using locks = new LockManager(store);
    await using rival = new LockManager(store);
    const stop = new AbortController();
    const leading = Promise.withResolvers<void>();
    const reasons: unknown[] = [];
    const done = locks.campaign("job", { signal: stop.signal }, async (_, signal) => {
      if (reasons.length > 0) return stop.abort();
      leading.resolve();
      reasons.push(await aborted(signal));
      signal.throwIfAborted(); // the abort itself is no failure
    });
    await leading.promise;
    const waiting = next<WaitingEvent>(locks, "waiting");
    const thief = await rival.acquire("job", { steal: true });
    await waiting;
    await thief.release();
    await done;
    assert.equal(reasons.length, 1);
    assert.ok(reasons[0] instanceof LockLostError && reasons[0].why === "stolen");
  });

  test("rejects with what lead throws, and resigns", async () => {
    await using locks = new LockManager(memory());
    const error = new Error("mine");
    for (
      const lead of [() => Promise.reject(error), () => {
        throw error;
      }]
    ) {
      await assert.rejects(locks.campaign("job", {}, lead), (thrown) => thrown === error);
      assert.equal(await locks.inspect("job"), undefined);
    }
  });

  // Goes red if: anything that lead throws after the abort is taken for the abort.
  test("a failure of lead's own rejects even after the abort", async () => {
    await using locks = new LockManager(memory());
    const stop = new AbortController();
    const error = new Error("could not clean up");
    const done = locks.campaign("job", { signal: stop.signal }, async (_, signal) => {
      queueMicrotask(() => stop.abort());
      await aborted(signal);
      throw error;
    });
    await assert.rejects(done, (thrown) => thrown === error);
  });

  test("an abort that lead made up itself rejects while nothing has been aborted", async () => {
    await using locks = new LockManager(memory());
    const lead = () => Promise.reject(new DOMException("another one", "AbortError"));
    await assert.rejects(locks.campaign("job", {}, lead), { name: "AbortError" });
  });

  // Goes red if: a BackendError rejects the campaign.
  test("a store that is away is an error event and another try", async () => {
    const store = new FaultyBackend(memory());
    await using locks = new LockManager(store, { retryFor: 0 });
    store.rule = () => "refuse";
    const failed = next<Event & { error?: BackendError; key?: string }>(locks, "error");
    const stop = new AbortController();
    let terms = 0;
    const done = locks.campaign("job", { signal: stop.signal }, () => {
      terms++;
      stop.abort();
    });
    const { error, key } = await failed;
    assert.equal(key, "job");
    assert.equal(error?.code, "backend");
    store.heal();
    await done;
    assert.equal(terms, 1);
  });

  test("resolves when it is stopped while it waits, and leaves the queue", async () => {
    await using locks = new LockManager(memory());
    const held = await locks.acquire("job");
    const stop = new AbortController();
    const waiting = next(locks, "waiting");
    const done = locks.campaign("job", { signal: stop.signal }, () => assert.fail("must not lead"));
    await waiting;
    stop.abort();
    await done;
    await held.release();
    assert.equal(await locks.inspect("job"), undefined);
    await locks.campaign("job", { signal: stop.signal }, () => assert.fail("was stopped before"));
  });

  // Goes red if: what is wrong is found only once it leads.
  test("is refused at once where it cannot be led", async () => {
    await using locks = new LockManager(memory());
    await using _held = await locks.acquire("job");
    const campaign = locks.campaign.bind(locks) as (...args: unknown[]) => Promise<void>;
    await assert.rejects(campaign("job", {}), {
      name: "TypeError",
      message: /"lead".*function, got undefined/,
    });
    await assert.rejects(campaign("job", {}, "me"), { name: "TypeError", message: /"lead".*got "me"/ });
    await assert.rejects(campaign("job", null, () => {}), { name: "TypeError", message: /a campaign/ });
    await assert.rejects(campaign("job"), { name: "TypeError", message: /"lead"/ });
    assert.deepEqual((await locks.inspect("job"))?.waiters, []);
  });

  test("needs no options", async () => {
    await using locks = new LockManager(memory());
    const led = new Error("led");
    const lead = () => Promise.reject(led);
    await assert.rejects(locks.campaign("job", lead), (thrown) => thrown === led);
    await assert.rejects(locks.campaign("job", undefined, lead), (thrown) => thrown === led);
  });

  // Goes red if: only the signal's own reason is taken for the abort, or close() waits for the next term.
  test("and a leader that tells of the abort in any of the usual ways end with their manager", async () => {
    const ways: ((term: Lock, signal: AbortSignal) => unknown)[] = [
      (_, signal) => aborted(signal),
      async (_, signal) => {
        await aborted(signal);
        signal.throwIfAborted();
      },
      (_, signal) => sleep(60_000, undefined, { signal, ref: false }), // whose AbortError is none of the platform's
      async (term, signal) => {
        await aborted(signal);
        await term.renew();
      },
      async (_, signal) => {
        await aborted(signal);
        throw new Error("interrupted", { cause: signal.reason });
      },
      async (_, signal) => {
        await aborted(signal);
        throw Object.assign(new Error("aborted"), { name: "AbortError" });
      },
    ];
    for (const [way, lead] of ways.entries()) {
      const { locks } = world(); // in which no time passes between two terms
      const leading = next(locks, "acquired");
      const ended = assert.rejects(locks.campaign("job", lead), { name: "ManagerClosedError" }, `way ${way}`);
      await leading;
      await locks.close();
      await ended;
    }
  });

  test("that nobody waits for is no unhandled rejection when its manager is closed", async () => {
    const unhandled: unknown[] = [];
    const hear = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", hear);
    for (const rival of [false, true]) {
      const locks = new LockManager(memory());
      if (rival) await locks.acquire("job");
      const begun = next(locks, rival ? "waiting" : "acquired");
      void locks.campaign("job", (_, signal) => aborted(signal));
      await begun;
      await locks.close();
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
    process.off("unhandledRejection", hear);
    assert.deepEqual(unhandled, []);
  });

  // Goes red if: lead is called whatever has become of the term meanwhile.
  test("does not lead a term that close() has taken between the grant and the call", async () => {
    const locks = new LockManager(memory());
    let closed: Promise<void> | undefined;
    locks.addEventListener("acquired", () => void (closed = locks.close()));
    const done = locks.campaign("job", () => assert.fail("must not lead"));
    await assert.rejects(done, { name: "ManagerClosedError" });
    await closed;

    const others = new LockManager(memory());
    others.addEventListener("acquired", () => queueMicrotask(() => void (closed = others.close())));
    const undone = others.campaign("job", () => assert.fail("must not lead"));
    await assert.rejects(undone, { name: "ManagerClosedError" });
    await closed;
  });

  // Goes red if: close() leaves a campaign to its pause between two terms.
  test("ends with its manager between two terms", async () => {
    const { locks } = world();
    const released = next(locks, "released");
    const ended = assert.rejects(locks.campaign("job", () => {}), { name: "ManagerClosedError" });
    await released;
    await new Promise((resolve) => setTimeout(resolve));
    await locks.close();
    await ended;
  });

  test("ends with its manager", async () => {
    const locks = new LockManager(memory());
    const leading = Promise.withResolvers<void>();
    const done = locks.campaign("job", {}, async (_, signal) => {
      leading.resolve();
      await aborted(signal);
    });
    const ended = assert.rejects(done, { name: "ManagerClosedError" });
    await leading.promise;
    await locks.close();
    await ended;
    await assert.rejects(locks.campaign("job", {}, () => {}), { name: "ManagerClosedError" });
  });
});
