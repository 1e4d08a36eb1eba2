import type { Call, Claim, Lease, Outcome } from "../../internal/backend.ts";
import type { Lock, LockManager } from "../../mod.ts";

/** A call with a bound of so many milliseconds. */
export function call(timeout = 5_000): Call {
  return { signal: new AbortController().signal, timeout };
}

/** As the core makes them. */
export function claim(key: string, options: Partial<Claim> = {}): Claim {
  return {
    id: crypto.randomUUID(),
    key: `holdfast/${key}`,
    mode: "exclusive",
    limit: 1,
    ttl: 5_000,
    metadata: undefined,
    client: "tests",
    steal: false,
    wait: true,
    progress: "new",
    ...options,
  };
}

/** Attempts, and keeps the claim's progress as the core does. */
export async function enter(lease: Lease, claim: Claim): Promise<Outcome> {
  const outcome = await lease.attempt(claim, call());
  if (outcome.state === "granted" || (outcome.state === "contended" && claim.wait)) {
    claim.progress = "entered";
  }
  return outcome;
}

/** Resolves with the reason once the lock is over. */
export function over(lock: Lock): Promise<Error & { why?: string }> {
  const { signal } = lock;
  if (signal.aborted) return Promise.resolve(signal.reason);
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(signal.reason), { once: true })
  );
}

/** An acquisition that stands in the queue: in an object, so as not to be awaited. */
export async function waiter(locks: LockManager, key: string): Promise<{ lock: Promise<Lock> }> {
  const waiting = next(locks, "waiting");
  const lock = locks.acquire(key);
  lock.catch(() => {});
  await Promise.race([waiting, lock.then(() => Promise.reject(new Error(`${key} was granted at once`)))]);
  return { lock };
}

/** The next event of a kind. */
export function next(target: EventTarget, type: string): Promise<Event> {
  return new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
}
