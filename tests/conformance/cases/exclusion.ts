import { acquired, waiter } from "../actions.ts";
import { equal, ok } from "../assert.ts";
import { type Group, group } from "../group.ts";
import { type Scene, Witness } from "../scene.ts";

/** Nobody gets in while somebody else is. */
export const exclusion: Group = group("exclusion", {
  // Goes red if: `holders()` lets one more in (`index > smallest`).
  async "a held lock is refused to everybody else, the same manager included"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(a, "k");
    ok(lock.held && !lock.signal.aborted, "a granted lock is held");
    equal(await b.tryAcquire("k"), undefined, "tryAcquire of another manager");
    equal(await a.tryAcquire("k"), undefined, "tryAcquire of the same manager");
    equal(await lock.release(), true, "release");
    const next = await acquired(b, "k");
    equal(next.held, true, "the lock after its release");
    equal(lock.held, false, "the released lock");
  },

  // Goes red if: `attempt` grants a contended claim, or a release frees the key for two at once.
  async "of many who want it, one at a time has it"(scene: Scene) {
    const managers = await Promise.all([scene.manager(), scene.manager(), scene.manager()]);
    const witness = new Witness();
    let inside = 0;
    let served = 0;
    const work = async (round: number): Promise<void> => {
      const lock = await acquired(managers[round % managers.length]!, "k");
      witness.enter(lock);
      inside++;
      equal(inside, 1, "holders at once");
      await Promise.resolve();
      await managers[0]!.inspect("k"); // somebody else's turn, if the store gives it away
      inside--;
      served++;
      witness.leave(lock);
      await lock.release();
    };
    await Promise.all(Array.from({ length: 12 }, (_, round) => work(round)));
    equal(served, 12, "holders in the end");
  },

  // Goes red if: `wait: false` leaves its place behind.
  async "tryAcquire that is refused leaves nothing behind"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await acquired(a, "k");
    for (let round = 0; round < 3; round++) equal(await b.tryAcquire("k"), undefined, "tryAcquire");
    const seen = await a.inspect("k");
    equal(seen?.holders.map(({ id }) => id), [lock.id], "holders");
    equal(seen?.waiters, [], "waiters");
    await lock.release();
    equal(await a.inspect("k"), undefined, "the key after the release");
    ok(await a.tryAcquire("k"), "tryAcquire of the free key");
  },

  // Goes red if: it takes a place in the queue and gives it up again.
  async "tryAcquire that is refused has never stood in the queue"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.long }, faulty);
    const b = await scene.manager();
    const lock = await acquired(b, "k");
    faulty.rule = (verb) => verb === "release" ? "refuse" : "pass";
    equal(await a.tryAcquire("k"), undefined, "tryAcquire");
    equal((await b.inspect("k"))?.waiters, [], "waiters");
    await lock.release();
    ok(await b.tryAcquire("k"), "the key is free");
  },

  // Goes red if: `wait: false` looks at the holders only.
  async "tryAcquire is refused while somebody stands before it"(scene: Scene) {
    if (scene.traits.order === "none") return; // nobody stands anywhere
    const [a, b] = await scene.pair();
    const reader = await acquired(a, "k", { mode: "shared" });
    const writer = await waiter(b, "k");
    equal(await a.tryAcquire("k", { mode: "shared" }), undefined, "a reader behind a waiting writer");
    await reader.release();
    await (await writer.lock).release();
    ok(await a.tryAcquire("k", { mode: "shared" }), "a reader after the writer");
  },

  // Goes red if: a claim that looks before it enters is overtaken by one that comes later.
  async "tryAcquire is not refused for the sake of who comes after it"(scene: Scene) {
    const a = await scene.manager();
    await (await acquired(a, "warm")).release();
    const trying = a.tryAcquire("k");
    const coming = acquired(a, "k");
    coming.catch(() => {});
    const lock = await trying;
    ok(lock, "tryAcquire of a free key, with an acquire behind it");
    await lock.release();
    await (await coming).release();
  },

  async "keys do not disturb each other"(scene: Scene) {
    const [a, b] = await scene.pair();
    const one = await acquired(a, "k1");
    const two = await acquired(b, "k2");
    ok(one.held && two.held, "two keys are held at once");
    equal(await b.tryAcquire("k1"), undefined, "the first key");
    equal(await a.tryAcquire("k2"), undefined, "the second key");
  },

  // Goes red if: the prefix is left out of the store's key.
  async "prefixes do not disturb each other"(scene: Scene) {
    const a = await scene.manager();
    const b = await scene.manager({ prefix: `${scene.prefix}/b` });
    const one = await acquired(a, "k");
    const two = await acquired(b, "k");
    ok(one.held && two.held, "one key is held under two prefixes at once");
  },
});
