import { acquired, waiter } from "../actions.ts";
import { equal, until } from "../assert.ts";
import { type Group, group } from "../group.ts";
import { type Scene, Witness } from "../scene.ts";

const MANY = 60;

/** Many at once. */
export const crowd: Group = group("many waiters", {
  // Goes red if: a hand-over is lost when many come together, or one of them is forgotten.
  async "everybody is served, one after the other, and nothing is left"(scene: Scene) {
    const managers = await Promise.all([scene.manager(), scene.manager()]);
    const witness = new Witness();
    const first = await acquired(managers[0]!, "k");
    witness.enter(first);
    const last: bigint[] = [first.token];
    const all = Array.from(
      { length: MANY },
      (_, turn) =>
        // The last waits for all the others: the bound is that of the case.
        managers[turn % 2]!.acquire("k").then(async (lock) => {
          witness.enter(lock);
          last.push(lock.token);
          witness.leave(lock);
          await lock.release();
        }),
    );
    await managers[1]!.inspect("k");
    witness.leave(first);
    await first.release();
    await Promise.all(all);
    equal(last.length, MANY + 1, "the number of holders");
    equal(last.every((token, at) => at === 0 || token > last[at - 1]!), true, "tokens rise");
    equal(await managers[0]!.inspect("k"), undefined, "the key in the end");
  },

  async "many keys are held under one heartbeat"(scene: Scene) {
    const [a, b] = await scene.pair();
    const locks = await Promise.all(Array.from({ length: MANY }, (_, at) => acquired(a, `k${at}`)));
    equal(await b.tryAcquire(`k${MANY - 1}`), undefined, "one of the keys");
    equal(locks.every(({ held }) => held), true, "all are held");
    await Promise.all(locks.map((lock) => lock.release()));
    for (const { key } of locks.slice(0, 3)) {
      equal(await b.inspect(key), undefined, `key ${key} after its release`);
    }
  },

  // Goes red if: a withdrawn claim comes back, or keeps its place until its ttl ends.
  async "those who give up together leave nothing behind"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long });
    const first = await acquired(a, "k");
    const giving = new AbortController();
    const reason = new Error("enough");
    const refused = Array.from(
      { length: 20 },
      () => b.acquire("k", { signal: giving.signal }).then(() => "granted", (error) => error),
    );
    await waiter(b, "k", { signal: giving.signal });
    giving.abort(reason);
    for (const outcome of await Promise.all(refused)) equal(outcome, reason, "an aborted acquisition");
    const { lock } = await waiter(a, "k");
    await first.release();
    await (await lock).release();
    // What was on its way when they gave up is taken back once its answer has come.
    await until("the key is free", async () => await b.inspect("k") === undefined);
  },
});
