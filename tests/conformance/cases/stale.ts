import { acquired, over, waiter } from "../actions.ts";
import { equal, ok, rejects } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** What a former holder does cannot hurt the present one. */
export const stale: Group = group("stale release", {
  async "release says whether it was this call that gave the lock up, each time the same"(scene: Scene) {
    const a = await scene.manager();
    const lock = await acquired(a, "k");
    equal(await lock.release(), true, "release");
    equal(await lock.release(), true, "release, again");
    equal(lock.held, false, "the released lock");
    await rejects(
      lock.renew(),
      { name: "LockReleasedError", code: "released" },
      "renewing what was released",
    );
  },

  // Goes red if: a release removes by key, or by order, instead of by claim.
  async "releasing twice does not release the successor"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(a, "k");
    const { lock: waiting } = await waiter(b, "k");
    await lock.release();
    const successor = await waiting;
    equal(await lock.release(), true, "release, again");
    await lock[Symbol.asyncDispose]();
    ok(successor.held, "the successor holds");
    equal(await a.tryAcquire("k"), undefined, "the key");
    await successor.renew();
  },

  // Goes red if: release by name; a debt that is paid with somebody else's claim.
  async "a holder whose time ran out does not release its successor"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.ttl }, faulty);
    const b = await scene.manager();
    const lock = await acquired(a, "k", { renew: false });
    await over(lock);
    const successor = await acquired(b, "k");
    equal(await lock.release(), false, "the late release");
    await lock[Symbol.asyncDispose]();
    await successor.renew();
    ok(successor.held, "the successor holds");
    equal((await a.inspect("k"))?.holders.map(({ id }) => id), [successor.id], "the holder");
  },

  // Goes red if: the reply of a release is taken for a failure of the successor's.
  async "a release that arrives twice does not release the successor"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const b = await scene.manager();
    faulty.rule = (verb) => verb === "release" ? "twice" : "pass";
    const lock = await acquired(a, "k");
    const { lock: waiting } = await waiter(b, "k");
    await lock.release();
    const successor = await waiting;
    await successor.renew();
    equal((await a.inspect("k"))?.holders.map(({ id }) => id), [successor.id], "the holder");
  },
});
