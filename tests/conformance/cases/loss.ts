import type { LostEvent } from "../../../mod.ts";
import { acquired, next, over, record, waiter } from "../actions.ts";
import { equal, matches, ok, rejects } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** The store drops a claim before its time. */
export const loss: Group = group("loss", {
  // Goes red if: a renewal counts without proof that the claim is there.
  async "a holder that the store has dropped learns it by its next renewal"(scene: Scene) {
    const a = await scene.manager();
    const lock = await acquired(a, "k");
    const lost = next<LostEvent>(a, "lost");
    await scene.revoke("k");
    await rejects(lock.renew(), { name: "LockLostError", code: "lost", why: "revoked" }, "renew");
    matches(await over(lock), { name: "LockLostError", why: "revoked" }, "the signal's reason");
    const { key, token, reason } = await lost;
    equal([key, token, reason], ["k", lock.token, "revoked"], "the event");
    equal([lock.held, lock.remaining], [false, 0], "the lost lock");
  },

  // Goes red if: the heartbeat leaves out holders, or ignores what it hears of one.
  async "it learns it without asking, too"(scene: Scene) {
    const a = await scene.manager({ ttl: scene.ttl });
    const lock = await acquired(a, "k");
    await scene.revoke("k");
    matches(await over(lock), { name: "LockLostError" }, "the signal's reason");
  },

  // Goes red if: a lost claim is entered again by its own renewal or attempt.
  async "a loss is final, and told once"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(a, "k");
    const told = record(lock, ["lost", "renewed", "released"]);
    await scene.revoke("k");
    await rejects(lock.renew(), { name: "LockLostError" }, "the first renewal");
    await rejects(lock.renew(), { name: "LockLostError" }, "the second renewal");
    equal(await lock.release(), false, "release");
    equal(await lock.release(), false, "release, again");
    await lock[Symbol.asyncDispose]();
    const types = told.map(({ type }) => type);
    equal(types.slice(types.indexOf("lost")), ["lost"], "events from the loss on");
    equal(await b.inspect("k"), undefined, "the key");
  },

  // Goes red if: an attempt of a claim that has been in the store before enters it again.
  async "asking about a claim that was dropped does not bring it back"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({}, faulty);
    const lock = await acquired(a, "k");
    await scene.revoke("k");
    faulty.omit = () => true; // so that the core has to ask about it by itself
    await rejects(lock.renew(), { name: "LockLostError" }, "renew");
    equal(await a.inspect("k"), undefined, "the key");
  },

  // Goes red if: a revocation does not wake those who wait.
  async "the next in the queue takes over from a revoked holder"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.heard });
    const lock = await acquired(a, "k");
    const { lock: waiting } = await waiter(b, "k");
    await scene.revoke("k");
    const successor = await waiting;
    ok(successor.token > lock.token, "the successor's token is greater");
    await rejects(lock.renew(), { name: "LockLostError" }, "the old holder's renewal");
    equal(await lock.release(), false, "the old holder's release");
    ok(successor.held, "the successor holds on");
    equal((await a.inspect("k"))?.holders.map(({ id }) => id), [successor.id], "the holder");
  },

  // Goes red if: a release that keeps the key taken does not look whether there is anything to keep.
  async "a lock that is revoked leaves no key taken, whatever was asked for"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long });
    const lock = await acquired(a, "k", { atLeast: scene.long });
    await scene.revoke("k");
    equal(await lock.release(), false, "release");
    await (await acquired(b, "k")).release();
  },
}, (harness) => harness.revoke !== undefined);
