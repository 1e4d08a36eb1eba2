/** Locks, seen from outside. */
import type { Lock, LockManager } from "../../mod.ts";

/** Resolves with the reason once the lock is over. */
export function over(lock: Lock): Promise<{ why?: string }> {
  const { signal } = lock;
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    signal.addEventListener("abort", () => resolve(signal.reason), { once: true });
  });
}

/** An acquisition that stands in the queue. */
export async function waiter(locks: LockManager, key: string): Promise<Promise<Lock>[]> {
  const waiting = new Promise((resolve) => locks.addEventListener("waiting", resolve, { once: true }));
  const lock = locks.acquire(key);
  await Promise.race([waiting, lock]);
  return [lock]; // in an array, so as not to be awaited
}
