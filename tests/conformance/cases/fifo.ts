import { acquired, standing, waiter } from "../actions.ts";
import { equal, until } from "../assert.ts";
import { type Group, group } from "../group.ts";
import { type Scene, Witness } from "../scene.ts";

/** Who comes first is served first; where the store keeps no order, everybody is served. */
export const fifo: Group = group("FIFO", {
  // Goes red if: the queue is a stack, or is ordered by anything but arrival.
  async "waiters are served in the order of their arrival"(scene: Scene) {
    const managers = await Promise.all([scene.manager(), scene.manager(), scene.manager()]);
    const witness = new Witness();
    const first = await acquired(managers[0]!, "k");
    witness.enter(first);
    const served: number[] = [];
    const done: Promise<void>[] = [];
    for (let turn = 0; turn < 6; turn++) {
      const { lock } = await waiter(managers[turn % 3]!, "k", { metadata: turn });
      done.push(lock.then(async (lock) => {
        witness.enter(lock);
        served.push(turn);
        witness.leave(lock);
        await lock.release();
      }));
    }
    witness.leave(first);
    await first.release();
    await Promise.all(done);
    if (scene.traits.order === "none") served.sort();
    equal(served, [0, 1, 2, 3, 4, 5], "the order of service");
  },

  // Goes red if: the calls of one process overtake each other on their way to the store.
  async "calls made in one breath are served in the order in which they were made"(scene: Scene) {
    const a = await scene.manager();
    const served: number[] = [];
    await Promise.all(Array.from({ length: 8 }, async (_, turn) => {
      const lock = await acquired(a, "k");
      served.push(turn);
      await lock.release();
    }));
    if (scene.traits.order === "none") served.sort();
    equal(served, [0, 1, 2, 3, 4, 5, 6, 7], "the order of service");
  },

  // Goes red if: a release lets the next newcomer in instead of the first waiter.
  async "a newcomer does not pass those who wait"(scene: Scene) {
    const [a, b] = await scene.pair();
    const first = await acquired(a, "k");
    const { lock: second } = await waiter(b, "k", { metadata: "second" });
    const { lock: third } = await waiter(a, "k", { metadata: "third" });
    if (scene.traits.order === "fifo") {
      equal((await standing(b, "k")).waiting, ["second", "third"], "the queue");
    }
    await first.release();
    const order: string[] = [];
    const serve = async (name: string, lock: typeof second): Promise<void> => {
      const held = await lock;
      order.push(name);
      await held.release();
    };
    await Promise.all([serve("second", second), serve("third", third)]);
    if (scene.traits.order === "fifo") equal(order, ["second", "third"], "the order of service");
  },

  // Goes red if: only the predecessor is watched and its withdrawal wakes nobody.
  async "who gives up makes room for those behind"(scene: Scene) {
    const [a, b] = await scene.pair();
    const first = await acquired(a, "k");
    const giving = new AbortController();
    const quitter = await waiter(b, "k", { metadata: "quitter", signal: giving.signal });
    const patient = await waiter(a, "k", { metadata: "patient" });
    giving.abort();
    await quitter.lock.then(() => {}, () => {});
    if (scene.traits.order === "fifo") {
      await until("the withdrawn waiter has left", async () => (await standing(a, "k")).waiting.length === 1);
      equal((await standing(a, "k")).waiting, ["patient"], "the queue");
    }
    await first.release();
    await (await patient.lock).release();
  },

  // The ttl is longer than the patience of the suite: without a wake-up this does not end in time.
  // Goes red if: `changed` does not resolve on a release.
  async "a release wakes the next one, whatever the ttl"(scene: Scene) {
    const ttl = scene.long;
    const [a, b] = await scene.pair({ ttl });
    const first = await acquired(a, "k");
    const { lock } = await waiter(b, "k");
    await first.release();
    await (await lock).release();
  },

  // Goes red if: `changed` hears only of what happens after it is called.
  async "a release that comes before the waiter listens is not missed"(scene: Scene) {
    const faulty = await scene.faulty();
    const a = await scene.manager({ ttl: scene.long });
    const b = await scene.manager({ ttl: scene.long }, faulty);
    const first = await acquired(a, "k");
    const answer = Promise.withResolvers<void>();
    faulty.rule = (verb) => verb === "attempt" ? answer.promise : "pass";
    const lock = acquired(b, "k");
    lock.catch(() => {});
    if (scene.traits.order === "none") await faulty.called("attempt");
    else await until("it stands in the queue", async () => (await standing(a, "k")).waiting.length === 1);
    await first.release();
    answer.resolve();
    await (await lock).release();
  },
});
