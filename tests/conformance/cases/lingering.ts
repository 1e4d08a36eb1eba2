import { acquired, over, waiter } from "../actions.ts";
import { equal, matches, ok, pass, within } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** A key that stays taken for a while, although its lock has been released. */
export const lingering: Group = group("atLeast", {
  // Goes red if: the option is ignored, or the handle goes on as long as the claim does.
  async "the lock is over with its release, and its key stays taken"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long });
    const lock = await acquired(a, "k", { atLeast: scene.long, metadata: "job" });
    const { id, token } = lock;
    equal(await lock.release(), true, "release");
    matches(await over(lock), { name: "LockReleasedError" }, "the signal's reason");
    equal([lock.held, lock.remaining], [false, 0], "the handle");
    equal(await b.tryAcquire("k"), undefined, "the key for others");
    equal(await a.tryAcquire("k"), undefined, "the key for the same manager");
    const holder = (await b.inspect("k"))?.holders[0];
    equal([holder?.id, holder?.token, holder?.metadata], [id, token, "job"], "who is seen to hold it");
    await (await acquired(b, "k", { steal: true })).release();
    equal(await a.inspect("k"), undefined, "what is left when it has been stolen");
  },

  // Goes red if: the time is counted from the release, or never ends.
  async "then it is free, and who waits has it"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long });
    const asked = performance.now();
    const lock = await within(a.acquire(["k1", "k2"], { atLeast: 500 }), "both keys");
    const waiting = await waiter(b, "k2");
    await lock.release();
    await (await waiting.lock).release();
    ok(performance.now() - asked >= 500, "half a second has passed");
    await (await acquired(b, "k1")).release();
  },

  async "a lock held for longer than that is free at once"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long });
    const lock = await acquired(a, "k", { atLeast: 50 });
    await pass(60);
    equal(await lock.release(), true, "release");
    equal(await b.inspect("k"), undefined, "what is left");
  },

  // Goes red if: nobody renews a claim whose lock is released.
  async "it is kept for longer than its ttl"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.steady });
    const lock = await acquired(a, "k", { atLeast: 10 * scene.steady });
    await lock.release();
    await pass(1.5 * scene.steady);
    equal((await b.inspect("k"))?.holders[0]?.id, lock.id, "who is seen to hold it");
    await (await acquired(b, "k", { steal: true })).release();
  },

  // Goes red if: closing ends the lease, or its process the claim.
  async "closing leaves it to its ttl"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long });
    const released = await acquired(a, "k1", { atLeast: scene.long });
    await released.release();
    const held = await acquired(a, "k2", { atLeast: scene.long });
    const other = await acquired(a, "k3");
    await within(a.close(), "the manager to close");
    equal([held.held, other.held], [false, false], "the handles");
    for (const key of ["k1", "k2"]) {
      equal(await b.tryAcquire(key), undefined, `key ${key} for others`);
      await (await acquired(b, key, { steal: true })).release();
    }
    equal(await b.inspect("k3"), undefined, "a key that was not to stay");
  },
});
