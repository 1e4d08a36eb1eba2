import { acquired, over, waiter } from "../actions.ts";
import { equal, matches, ok, rejects, within } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

/** One handle over several keys. */
export const several: Group = group("several keys", {
  async "are held together and released together"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await within(a.acquire(["k2", "k1", "k2"]), "both keys");
    equal([lock.key, lock.name, lock.keys], ["k2", "k2", ["k2", "k1"]], "keys as asked, without duplicates");
    equal([...lock.tokens.keys()], ["k2", "k1"], "a token for each key");
    equal(lock.token, lock.tokens.get("k2"), "the token of the first key");
    for (const key of ["k1", "k2"]) {
      equal(await b.tryAcquire(key), undefined, `key ${key}`);
      equal((await b.inspect(key))?.holders[0]?.token, lock.tokens.get(key), `the token of ${key}`);
    }
    equal(await lock.release(), true, "release");
    for (const key of ["k1", "k2"]) equal(await b.inspect(key), undefined, `key ${key} after the release`);
  },

  // Goes red if: keys that were already ours stay taken when another one is refused.
  async "all or none"(scene: Scene) {
    const [a, b] = await scene.pair();
    const taken = await acquired(b, "k2");
    equal(await a.tryAcquire(["k1", "k2", "k3"]), undefined, "tryAcquire of three, one of them taken");
    for (const key of ["k1", "k3"]) equal(await b.inspect(key), undefined, `key ${key}`);
    const giving = new AbortController();
    const waiting = early(a.acquire(["k1", "k2"], { signal: giving.signal }));
    await waiter(b, "k2", { signal: giving.signal });
    giving.abort(new Error("enough"));
    await rejects(waiting, { is: giving.signal.reason }, "acquire");
    await taken.release();
    await (await within(b.acquire(["k1", "k2", "k3"]), "the three keys")).release();
  },

  // Goes red if: keys are taken in the order in which they were named.
  async "callers that name them in different orders do not deadlock"(scene: Scene) {
    const [a, b] = await scene.pair();
    let inside = 0;
    const work = async (manager: typeof a, keys: string[]): Promise<void> => {
      for (let round = 0; round < 4; round++) {
        const lock = await within(manager.acquire(keys), `keys ${keys}`);
        equal(++inside, 1, "holders at once");
        await manager.inspect("k1");
        inside--;
        await lock.release();
      }
    };
    await Promise.all([
      work(a, ["k1", "k2", "k3"]),
      work(b, ["k3", "k2", "k1"]),
      work(b, ["k2", "k1", "k3"]),
    ]);
  },

  async "tokens rise for each key by itself"(scene: Scene) {
    const [a, b] = await scene.pair();
    const first = await within(a.acquire(["k1", "k2"]), "both keys");
    await first.release();
    const single = await acquired(b, "k2");
    ok(single.token > first.tokens.get("k2")!, "one key after both");
    await single.release();
    const second = await within(b.acquire(["k2", "k1"]), "both keys again");
    ok(second.tokens.get("k2")! > single.token, "both keys after one");
    ok(second.tokens.get("k1")! > first.tokens.get("k1")!, "the other key");
  },

  // Goes red if: the loss of one key leaves the handle held.
  async "the loss of one is the loss of all"(scene: Scene) {
    const [a, b] = await scene.pair();
    const lock = await within(a.acquire(["k1", "k2"]), "both keys");
    const thief = await acquired(b, "k2", { steal: true });
    matches(await over(lock), { name: "LockLostError", why: "stolen" }, "the signal's reason");
    equal(lock.held, false, "the handle");
    ok(thief.held, "the thief holds");
    await (await acquired(b, "k1")).release(); // what was left of it has been given back
    equal(await lock.release(), false, "release");
  },
});

/** Its rejection may come before anybody looks. */
function early<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
