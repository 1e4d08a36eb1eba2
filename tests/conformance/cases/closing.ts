import { acquired, waiter } from "../actions.ts";
import { equal, matches, ok, rejects, within } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** The end of a manager. */
export const closing: Group = group("closing", {
  // Goes red if: held locks are left to their ttl.
  async "releases what is held"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long });
    const lock = await acquired(a, "k");
    const { lock: waiting } = await waiter(b, "k");
    await within(a.close(), "the manager to close");
    equal(lock.held, false, "the lock");
    matches(lock.signal.reason, { name: "LockReleasedError" }, "the signal's reason");
    ok((await waiting).held, "the next one holds");
  },

  async "rejects those who wait and those who come later"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(b, "k");
    const { lock: waiting } = await waiter(a, "k");
    const closing = a.close();
    const closed = { name: "ManagerClosedError", code: "closed", says: "Cannot" };
    await rejects(waiting, closed, "the waiter");
    await within(closing, "the manager to close");
    await rejects(a.acquire("k"), closed, "acquire");
    await rejects(a.tryAcquire("free"), closed, "tryAcquire");
    await rejects(a.inspect("k"), closed, "inspect");
    await rejects(a.query(), closed, "query");
    await rejects(a.request("k", () => {}), closed, "request");
    ok(lock.held, "the lock of the other manager");
    await lock.release();
    equal(await b.inspect("k"), undefined, "the key in the end");
  },

  // Goes red if: the end of a lease leaves its claims in the store.
  async "ends what could not be released"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.long, retryFor: 0 }, faulty);
    const b = await scene.manager();
    await acquired(a, "k");
    faulty.rule = (verb) => verb === "release" ? "refuse" : "pass";
    await within(a.close(), "the manager to close");
    ok((await acquired(b, "k")).held, "the next one holds");
  },

  async "can be repeated, and ends a scope"(scene: Scene) {
    const b = await scene.manager();
    const other = await scene.manager();
    {
      await using a = other;
      await acquired(a, "k");
    }
    await within(Promise.all([other.close(), other.close()]), "the manager to close again");
    ok(await b.tryAcquire("k"), "the key");
  },

  // Goes red if: the first manager to close takes the backend away from the other.
  async "the last of the managers over a backend closes it"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const b = await scene.manager({}, faulty);
    const lock = await acquired(a, "k");
    equal(await b.tryAcquire("k"), undefined, "the other manager of the backend");
    await a.close();
    equal(faulty.disposals, 0, "the backend after the first close");
    equal(lock.held, false, "the lock of the closed manager");
    ok(await b.tryAcquire("k"), "the key, for the manager that is left");
    await b.close();
    equal(faulty.disposals, 1, "the backend after the last close");
  },

  // Goes red if: close waits for a store that does not answer.
  async "comes to an end though the store is away"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.ttl }, faulty);
    const lock = await acquired(a, "k");
    faulty.cut();
    await within(a.close(), "the manager to close");
    equal([lock.held, lock.signal.aborted], [false, true], "the lock");
  },
});
