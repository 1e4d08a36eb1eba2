import { acquired, waiter } from "../actions.ts";
import { equal, ok, rejects, until } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** Giving up. */
export const cancellation: Group = group("cancellation", {
  // Goes red if: the signal is looked at after the attempt only.
  async "a signal that has aborted before sends nothing"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const reason = new Error("never mind");
    await rejects(a.acquire("k", { signal: AbortSignal.abort(reason) }), { is: reason }, "acquire");
    await rejects(a.tryAcquire("k", { signal: AbortSignal.abort(reason) }), { is: reason }, "tryAcquire");
    await rejects(
      a.acquire(["k", "l"], { signal: AbortSignal.abort(reason) }),
      { is: reason },
      "acquire of two",
    );
    equal(faulty.count("attempt"), 0, "attempts");
  },

  // Goes red if: the rejection waits for the withdrawal, or wraps the reason.
  async "a waiter rejects with the signal's reason, and leaves the queue"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(a, "k");
    const giving = new AbortController();
    const quitter = await waiter(b, "k", { signal: giving.signal });
    const { lock: waiting } = await waiter(b, "k");
    const reason = { not: "even an error" };
    giving.abort(reason);
    await rejects(quitter.lock, { is: reason }, "the waiter");
    await lock.release();
    await (await waiting).release();
    equal(await a.inspect("k"), undefined, "the key in the end");
  },

  // Goes red if: the end of one that has waited counts as the end of one that has held.
  async "whoever is behind one that gives up waits on"(scene: Scene) {
    const [a, b] = await scene.pair();
    for (const mode of ["exclusive", "shared"] as const) {
      const lock = await acquired(a, mode);
      const giving = new AbortController();
      const quitter = await waiter(b, mode, { signal: giving.signal });
      const behind = await waiter(b, mode, { mode });
      giving.abort();
      await rejects(quitter.lock, { name: "AbortError" }, "the quitter");
      let granted = false;
      behind.lock.then(() => granted = true, () => {});
      await until("the quitter is gone", async () => (await a.inspect(mode))?.waiters.length !== 2);
      await new Promise((resolve) => setTimeout(resolve, 100));
      ok(lock.held && !granted, `one lock at a time: ${mode}`);
      await lock.release();
      await (await behind.lock).release();
    }
  },

  async "a time limit is a TimeoutError"(scene: Scene) {
    const [a, b] = await scene.pair();
    await acquired(a, "k");
    await rejects(b.acquire("k", { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" }, "acquire");
    equal((await a.inspect("k"))?.holders.length, 1, "holders");
  },

  // Goes red if: the listener on the signal outlives the acquisition.
  async "aborting after the grant changes nothing"(scene: Scene) {
    const a = await scene.manager();
    const giving = new AbortController();
    const lock = await acquired(a, "k", { signal: giving.signal });
    giving.abort();
    await lock.renew();
    ok(lock.held && !lock.signal.aborted, "the lock is held");
  },

  // Goes red if: an attempt that is granted after the abort stays granted.
  async "aborting at the very moment of the grant leaves nothing behind"(scene: Scene) {
    const [a, b] = await scene.pair();
    for (let round = 0; round < 10; round++) {
      const lock = await acquired(a, "k");
      const giving = new AbortController();
      const { lock: waiting } = await waiter(b, "k", { signal: giving.signal });
      const releasing = lock.release();
      for (let turn = 0; turn < round; turn++) await Promise.resolve();
      giving.abort(new Error("enough"));
      await releasing;
      await waiting.then((lock) => lock.release(), () => {});
    }
    await (await acquired(a, "k")).release();
  },
});
