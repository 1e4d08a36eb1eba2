/** What everybody does with locks, over whatever client. */
import assert from "node:assert/strict";
import { redis, type RedisTarget } from "../../../backends/redis.ts";
import { LockManager } from "../../../mod.ts";
import { next } from "../../support.ts";
import type { BackendError } from "../../../internal/errors.ts";

/** Two managers pass a lock to each other, look at it, and watch it. */
export async function uses(a: RedisTarget, b: RedisTarget, key: string): Promise<void> {
  await using ours = new LockManager(redis(a), { retryFor: 0 });
  await using theirs = new LockManager(redis(b), { retryFor: 0 });
  for (const locks of [ours, theirs]) await connects(locks);
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

/** To connect may take a busy machine longer than a call may take, and with `retryFor` 0 nobody tries again. */
export async function connects(locks: LockManager): Promise<void> {
  for (let left = 5;; left--) {
    try {
      return void await locks.inspect("connects");
    } catch (error) {
      if (left === 0 || !(error as BackendError).retryable) throw error;
    }
  }
}
