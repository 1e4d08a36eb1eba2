import { acquired, standing, waiter } from "../actions.ts";
import { equal, ok, rejects } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** Readers, writers and semaphores. */
export const sharing: Group = group("shared and limit", {
  // Goes red if: a shared claim's limit is 1.
  async "readers hold together, a writer holds alone"(scene: Scene) {
    const [a, b] = await scene.pair();
    const shared = { mode: "shared" } as const;
    const readers = [
      await acquired(a, "k", shared),
      await acquired(b, "k", shared),
      await acquired(a, "k", shared),
    ];
    ok(readers.every(({ held, mode }) => held && mode === "shared"), "all readers hold");
    equal(await b.tryAcquire("k"), undefined, "a writer among readers");
    const { lock } = await waiter(b, "k");
    for (const reader of readers) await reader.release();
    const writer = await lock;
    equal(await a.tryAcquire("k", shared), undefined, "a reader beside a writer");
    await writer.release();
    ok(await a.tryAcquire("k", shared), "a reader after the writer");
  },

  // Goes red if: the rule looks at holders only, so that readers starve a writer.
  async "readers do not pass a waiting writer"(scene: Scene) {
    if (scene.traits.order === "none") return; // no queue to pass
    const [a, b] = await scene.pair();
    const first = await acquired(a, "k", { mode: "shared", metadata: "first" });
    const writer = await waiter(b, "k", { metadata: "writer" });
    const late = await waiter(a, "k", { mode: "shared", metadata: "late" });
    equal(await standing(b, "k"), { held: ["first"], waiting: ["writer", "late"] }, "the queue");
    await first.release();
    const lock = await writer.lock;
    equal(await standing(a, "k"), { held: ["writer"], waiting: ["late"] }, "the queue after the readers");
    await lock.release();
    await (await late.lock).release();
  },

  // Goes red if: readers watch their predecessor only (the second one sleeps on).
  async "the end of a writer lets all waiting readers in at once"(scene: Scene) {
    const [a, b] = await scene.pair({ ttl: scene.long });
    const writer = await acquired(a, "k");
    const readers = [
      await waiter(a, "k", { mode: "shared" }),
      await waiter(b, "k", { mode: "shared" }),
      await waiter(b, "k", { mode: "shared" }),
    ];
    await writer.release();
    const locks = await Promise.all(readers.map(({ lock }) => lock));
    ok(locks.every(({ held }) => held), "all readers hold together");
  },

  // Goes red if: the limit is not compared (`index >= smallest` gone), or counts waiters too.
  async "a semaphore of n has n holders and no more"(scene: Scene) {
    const [a, b] = await scene.pair();
    if (!scene.traits.semaphore) {
      return await rejects(
        a.acquire("k", { limit: 2 }),
        { name: "RangeError", says: "limit" },
        "a limit of 2",
      );
    }
    const holders = [await acquired(a, "k", { limit: 3 }), await acquired(b, "k", { limit: 3 })];
    holders.push(await acquired(a, "k", { limit: 3 }));
    ok(holders.every(({ limit, held }) => limit === 3 && held), "three permits are held");
    equal(await b.tryAcquire("k", { limit: 3 }), undefined, "a fourth permit");
    const { lock } = await waiter(b, "k", { limit: 3 });
    await holders[1]!.release();
    const fourth = await lock;
    ok(fourth.held && holders[0]!.held && holders[2]!.held, "three permits are held again");
    equal(await b.tryAcquire("k", { limit: 3 }), undefined, "a fifth permit");
  },

  // Goes red if: a claim looks at its own limit only.
  async "the smallest limit counts where limits differ"(scene: Scene) {
    if (!scene.traits.semaphore) return;
    const [a, b] = await scene.pair();
    const two = await acquired(a, "k", { limit: 2 });
    const five = await acquired(b, "k", { limit: 5 });
    equal(await a.tryAcquire("k", { limit: 5 }), undefined, "a third holder where one allows two");
    await two.release();
    ok(await a.tryAcquire("k", { limit: 5 }), "a second holder of five");
    ok(await a.tryAcquire("k", { limit: 5 }), "a third holder of five");
    equal(await a.tryAcquire("k", { limit: 2 }), undefined, "one that wants at most two, behind three");
    ok(five.held, "the first of five still holds");
  },
});
