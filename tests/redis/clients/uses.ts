/** What everybody does with locks, over whatever client. */
import assert from "node:assert/strict";
import { redis, type RedisTarget } from "../../../backends/redis.ts";
import { LockManager } from "../../../mod.ts";
import { next } from "../../support.ts";

/** Two managers pass a lock to each other, look at it, and watch it. */
export async function uses(a: RedisTarget, b: RedisTarget, key: string): Promise<void> {
  await using ours = new LockManager(redis(a), { retryFor: 0 });
  await using theirs = new LockManager(redis(b), { retryFor: 0 });
  await using watch = theirs.watch(key);
  const [locked, unlocked] = [next(watch, "locked"), next(watch, "unlocked")];
  await watch.ready;
  const lock = await ours.acquire(key, { metadata: { host: "one" } });
  await locked;
  assert.equal(await theirs.tryAcquire(key), undefined, "it is held");
  const waits = next(theirs, "waiting");
  const waiting = theirs.acquire(key);
  await waits;
  await lock.renew();
  const seen = await theirs.inspect(key);
  assert.deepEqual(seen?.holders.map(({ metadata }) => metadata), [{ host: "one" }]);
  const { held } = await theirs.query();
  assert.equal(held?.filter(({ name }) => name === key).length, 1);
  assert.equal(await lock.release(), true);
  await using heir = await waiting;
  assert.ok(heir.token > lock.token);
  await unlocked;
}
