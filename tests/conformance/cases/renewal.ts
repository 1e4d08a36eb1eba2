import type { RenewedEvent } from "../../../mod.ts";
import { acquired, next } from "../actions.ts";
import { equal, ok, pass, rejects } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** Asking for more time. */
export const renewal: Group = group("renew", {
  // Goes red if: an acknowledged renewal does not move `D`.
  async "a renewal moves the deadline"(scene: Scene) {
    const a = await scene.manager({ ttl: Math.max(20_000, scene.traits.minTtl) });
    const lock = await acquired(a, "k");
    const before = performance.now() + lock.remaining;
    await pass(Math.max(200, 2 * scene.traits.settle));
    const renewed = next<RenewedEvent>(lock, "renewed");
    await lock.renew();
    // Where a renewal counts only once a later one is acknowledged, the second one proves the first.
    if (scene.traits.settle > 0) {
      await pass(1.5 * scene.traits.settle);
      await lock.renew();
    }
    const { remaining } = lock; // read first, so that a pause takes nothing from it
    const after = performance.now() + remaining;
    ok(after >= before + 100, `the deadline moved from ${before} to ${after}`);
    ok(lock.remaining <= lock.ttl, "no more than the ttl remains");
    const { key, token } = await renewed;
    equal([key, token], ["k", lock.token], "the event");
  },

  async "a lock that does not renew itself can be renewed by hand"(scene: Scene) {
    const a = await scene.manager({ ttl: scene.steady });
    const lock = await acquired(a, "k", { renew: false });
    const { token } = lock;
    const end = performance.now() + 1.5 * lock.ttl;
    while (performance.now() < end) {
      await lock.renew();
      await pass(lock.ttl / 6);
    }
    ok(lock.held, "the lock is held past its ttl");
    equal(lock.token, token, "its token");
  },

  async "a lock that was released cannot be renewed"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(a, "k");
    await lock.release();
    await rejects(lock.renew(), { name: "LockReleasedError", code: "released" }, "renew");
    ok(await b.tryAcquire("k"), "the key is free");
  },
});
