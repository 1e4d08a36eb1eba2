import { acquired, over, waiter } from "../actions.ts";
import { equal, matches, ok, rejects } from "../assert.ts";
import { type Group, group } from "../group.ts";
import { type Scene, Witness } from "../scene.ts";

/** The store cannot be reached for a while. */
export const partition: Group = group("partition", {
  // Goes red if: a failed call ends a lock.
  async "an outage shorter than the ttl costs nothing"(scene: Scene) {
    const cut = await scene.severable();
    const a = await scene.manager({ ttl: Math.max(20_000, scene.ttl) }, cut.backend);
    const lock = await acquired(a, "k");
    await cut.cut();
    const renewing = lock.renew();
    renewing.catch(() => {});
    await cut.heal();
    await renewing.catch(() => lock.renew());
    ok(lock.held && !lock.signal.aborted, "the lock is held");
    equal(await lock.release(), true, "release");
  },

  // Goes red if: an error of the store is taken for "somebody holds it".
  async "a store that cannot be reached is an error, not an undefined"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ retryFor: 0 }, faulty);
    const patient = await scene.manager({}, faulty);
    faulty.rule = () => "refuse";
    await rejects(a.tryAcquire("k"), { code: "backend", says: "Cannot" }, "tryAcquire");
    await rejects(a.acquire("k"), { code: "backend", says: "Cannot" }, "acquire");
    await rejects(a.inspect("k"), { code: "backend", says: "Cannot" }, "inspect");
    faulty.heal();
    ok(await patient.tryAcquire("k"), "tryAcquire once the store is back");
  },

  // Goes red if: an acquisition gives up at the first error although `retryFor` is left.
  async "an acquisition gets through once the store is back"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ retryFor: 60_000 }, faulty);
    faulty.rule = () => "refuse";
    const acquiring = acquired(a, "k");
    acquiring.catch(() => {});
    await faulty.called("lease", 2);
    faulty.heal();
    ok((await acquiring).held, "the lock is held");
  },

  // Goes red if: the withdrawal is awaited before the rejection, or forgotten after it.
  async "giving up while cut off rejects at once, and the key is free later"(scene: Scene) {
    const cut = await scene.severable();
    const a = await scene.manager({}, cut.backend);
    const b = await scene.manager();
    await (await acquired(a, "warm")).release();
    await cut.cut();
    const giving = new AbortController();
    const acquiring = a.acquire("k", { signal: giving.signal });
    const reason = new Error("enough");
    giving.abort(reason);
    await rejects(acquiring, { is: reason }, "the acquisition");
    await cut.heal();
    await (await acquired(b, "k")).release();
  },

  // Goes red if: the core takes a healed connection for a proof that a lock is still there.
  async "after an outage longer than the ttl the old lock is over, and a new one can be had"(scene: Scene) {
    const cut = await scene.severable();
    const a = await scene.manager({}, cut.backend);
    const b = await scene.manager();
    const witness = new Witness();
    const old = await acquired(a, "k", { ttl: scene.ttl });
    witness.enter(old);
    await cut.cut();
    matches(await over(old), { name: "LockLostError", why: "expired" }, "the signal's reason");
    await cut.heal();
    const fresh = await acquired(a, "k");
    witness.enter(fresh);
    equal(old.held, false, "the old lock");
    equal(await b.tryAcquire("k"), undefined, "the key");
    const { lock } = await waiter(b, "k");
    witness.leave(fresh);
    equal(await fresh.release(), true, "release of the new one");
    witness.enter(await lock);
  },
});
