import { acquired, waiter } from "../actions.ts";
import { equal, matches, ok, rejects, until } from "../assert.ts";
import type { FaultyBackend, Verb } from "../faulty.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** Calls and replies that get lost, late or doubled on the way: each call is safe to repeat. */
export const replies: Group = group("lost reply", {
  // Goes red if: a repeated attempt enters a second claim.
  async "an acquisition whose reply is lost is granted once, to one claim"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    once(faulty, "attempt", "lose");
    const lock = await acquired(a, "k");
    equal(
      (await a.inspect("k"))?.holders.map(({ id, token }) => [id, token]),
      [[lock.id, lock.token]],
      "the holder",
    );
    equal(await lock.release(), true, "release");
    equal(await a.inspect("k"), undefined, "the key after its release");
  },

  // Goes red if: two copies of one enter make two places, or one that nobody knows of.
  async "an acquisition that arrives twice is one claim, and its release frees the key"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const b = await scene.manager();
    faulty.rule = (verb) => verb === "attempt" ? "twice" : "pass";
    for (let round = 0; round < 5; round++) {
      const lock = await acquired(a, "k");
      equal((await b.inspect("k"))?.holders.map(({ id }) => id), [lock.id], "the holder");
      equal((await b.inspect("k"))?.waiters, [], "waiters");
      await lock.release();
    }
    await until("no copy is left in the store", async () => await b.inspect("k") === undefined);
    ok(await b.tryAcquire("k"), "the key is free");
  },

  // Goes red if: the place in the queue is lost or doubled by a repeat.
  async "a place in the queue survives a lost reply"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const b = await scene.manager();
    const first = await acquired(b, "k");
    once(faulty, "attempt", "lose");
    const { lock } = await waiter(a, "k", { metadata: "first" });
    const late = await waiter(b, "k", { metadata: "late" });
    if (scene.traits.order === "fifo") {
      equal((await b.inspect("k"))?.waiters.map(({ metadata }) => metadata), ["first", "late"], "the queue");
    }
    await first.release();
    await Promise.all([lock, late.lock].map(async (lock) => await (await lock).release()));
  },

  // Goes red if: a lost reply of a release is reported as a loss, or the lock stays.
  async "a release whose reply is lost has released"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const b = await scene.manager();
    const lock = await acquired(a, "k");
    once(faulty, "release", "lose");
    const first = await lock.release().catch((error) => error);
    equal(lock.held, false, "the lock, whatever release said");
    if (first !== true) {
      matches(first, { code: "backend" }, "release");
      equal(await lock.release(), true, "release, called again");
    }
    await (await acquired(b, "k")).release();
  },

  // Goes red if: a failed release is forgotten while the lease is kept alive by another lock.
  async "a release that never arrives is made up for"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ retryFor: 0 }, faulty);
    const b = await scene.manager();
    const kept = await acquired(a, "kept");
    const lock = await acquired(a, "k");
    faulty.rule = (verb) => verb === "release" || verb === "close" ? "refuse" : "pass";
    await rejects(lock.release(), { code: "backend", says: "Cannot" }, "release");
    equal([lock.held, lock.signal.aborted], [false, true], "the lock that could not be released");
    matches(lock.signal.reason, { name: "LockReleasedError", code: "released" }, "the signal's reason");
    faulty.heal();
    await (await acquired(b, "k")).release();
    ok(kept.held, "the other lock of the manager is held");
  },

  // Goes red if: one failed renewal ends a lock, or counts as a success.
  async "a renewal whose reply is lost ends nothing"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: Math.max(20_000, scene.traits.minTtl) }, faulty);
    const lock = await acquired(a, "k");
    once(faulty, "renew", "lose");
    await lock.renew().catch((error) => matches(error, { code: "backend" }, "the renewal"));
    await lock.renew();
    ok(lock.held && !lock.signal.aborted, "the lock is held");
    equal(await lock.release(), true, "release");
  },

  // Goes red if: the withdrawal of an attempt of unknown outcome is left out.
  async "an acquisition given up while its reply is missing leaves nothing behind"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.long }, faulty);
    const b = await scene.manager();
    const kept = await acquired(a, "kept");
    faulty.rule = (verb, claims) => verb === "attempt" && claims[0]?.key.endsWith("/k") ? "mute" : "pass";
    const giving = new AbortController();
    const before = faulty.count("attempt");
    const acquiring = a.acquire("k", { signal: giving.signal });
    acquiring.catch(() => {});
    await faulty.called("attempt", before + 1);
    giving.abort(new Error("enough"));
    await rejects(acquiring, { is: giving.signal.reason }, "the acquisition");
    await (await acquired(b, "k")).release();
    // The attempt may be slower than all of that: then it enters, and is withdrawn after that.
    await until("the key is free", async () => await b.inspect("k") === undefined);
    ok(kept.held, "the other lock of the manager is held");
  },

  // Goes red if: `retryFor: 0` tries again, or leaves its unknown claim in the store.
  async "with retryFor 0 the first failure rejects, and leaves nothing behind"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ retryFor: 0, ttl: scene.long }, faulty);
    const b = await scene.manager();
    faulty.rule = (verb) => verb === "attempt" ? "lose" : "pass";
    await rejects(a.acquire("k"), { code: "backend", says: "Cannot" }, "acquire");
    equal(faulty.count("attempt"), 1, "attempts");
    await rejects(a.tryAcquire("k"), { code: "backend" }, "tryAcquire");
    await (await acquired(b, "k")).release();
  },
});

/** The next call of a kind meets its fate; those after it pass. */
function once(faulty: FaultyBackend, verb: Verb, fate: "lose" | "refuse"): void {
  let left = 1;
  faulty.rule = (seen) => seen === verb && left-- > 0 ? fate : "pass";
}
