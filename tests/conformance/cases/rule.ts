import type { Lock } from "../../../mod.ts";
import { holders } from "../../../internal/queue.ts";
import { acquired, next, standing, type Waiter, waiter } from "../actions.ts";
import { equal, fail, until, within } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** A claim of the model: its place in the list is its place in the queue. */
interface Place {
  readonly name: number;
  readonly limit: number;
  readonly lock: Promise<Lock>;
  readonly giveUp: AbortController;
  granted: boolean;
}

/** Whatever enters and leaves in whatever order, the store agrees with the one rule. */
export const rule: Group = group("the rule", {
  // Goes red if: any one line of `internal/queue.ts` or of the store's own copy of the rule changes.
  "mixed modes and limits, as the pure function says": (scene) => agree(scene, [1, 2, 3, Infinity]),
  "readers and writers, as the pure function says": (scene) => agree(scene, [1, Infinity, Infinity]),

  // Goes red if: the end of one that has held beside others counts as the end of one that has held alone.
  async "a writer waits for all readers, whoever's they are"(scene: Scene) {
    const [a, b] = await scene.pair();
    const theirs = await acquired(a, "k", { mode: "shared" });
    const ours = await acquired(b, "k", { mode: "shared" });
    const writer = await waiter(b, "k");
    await ours.release();
    await notYet(writer, "the writer beside a reader");
    await theirs.release();
    await (await writer.lock).release();
  },

  // Goes red if: one that has held alone is taken for the only one ahead.
  async "behind one that has held alone there is room for so many and no more"(scene: Scene) {
    if (!scene.traits.semaphore) return;
    const [, b] = await scene.pair();
    const alone = await acquired(b, "k");
    const first = await waiter(b, "k", { limit: 2 });
    const second = await waiter(b, "k", { limit: 2 });
    const third = await waiter(b, "k", { limit: 2 });
    await alone.release();
    const locks = await Promise.all([first.lock, second.lock]);
    await notYet(third, "a third of two");
    for (const lock of locks) await lock.release();
    await (await third.lock).release();
  },
});

/** It is not granted in a while: a grant that comes too early takes a round trip at most. */
async function notYet({ lock }: Waiter, who: string): Promise<void> {
  const early = lock.then(() => true);
  const later = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 100));
  if (await Promise.race([early, later])) fail(`${who} is granted the lock`);
}

async function agree(scene: Scene, all: readonly number[]): Promise<void> {
  if (scene.traits.order === "none") return; // no queue to compare with
  const limits = scene.traits.semaphore ? all : all.filter((limit) => limit === 1 || limit === Infinity);
  const managers = await scene.pair();
  const queue: Place[] = [];
  const random = generator(limits.length);
  for (let step = 0; step < 40; step++) {
    const leaves = queue.length > 6 || (queue.length > 0 && random(3) === 0);
    if (leaves) {
      const at = random(queue.length);
      const holds = at < holders(queue);
      const [place] = queue.splice(at, 1);
      if (holds) await (await place!.lock).release();
      else place!.giveUp.abort();
    } else {
      const manager = managers[random(2)]!;
      const limit = limits[random(limits.length)]!;
      const giveUp = new AbortController();
      const waits = next(manager, "waiting");
      waits.catch(() => {});
      const how = limit === Infinity ? { mode: "shared" as const } : { limit };
      const lock = manager.acquire("k", { ...how, metadata: step, signal: giveUp.signal });
      lock.catch(() => {});
      await Promise.race([lock, waits]);
      const place: Place = { name: step, limit, lock, giveUp, granted: false };
      lock.then(() => place.granted = true, () => {});
      queue.push(place);
    }
    const count = holders(queue);
    await within(
      Promise.all(queue.slice(0, count).map(({ lock }) => lock)),
      `step ${step}: the first ${count} of [${queue.map(({ limit }) => limit)}] to hold`,
    );
    const early = queue.slice(count).filter(({ granted }) => granted);
    equal(
      early.map(({ name }) => name),
      [],
      `step ${step}, limits [${queue.map(({ limit }) => limit)}]: too early`,
    );
    // A withdrawal goes on behind the caller's back; a release and an entry are there when they return.
    if (leaves) await until(`step ${step}: who left is gone`, async () => (await size()) === queue.length);
    const names = queue.map(({ name }) => name);
    equal(
      await standing(managers[0]!, "k"),
      { held: names.slice(0, count), waiting: names.slice(count) },
      `step ${step}, limits [${queue.map(({ limit }) => limit)}]`,
    );
  }

  async function size(): Promise<number> {
    const { held, waiting } = await standing(managers[1]!, "k");
    return held.length + waiting.length;
  }
}

/** The same numbers at every run: a failure can be looked at again. */
function generator(seed: number): (below: number) => number {
  let state = seed * 0x9e3779b9 | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
