/** What the core asks of a backend, made by hand, and what locks do, seen from outside. For the tests of all stores. */
import type {
  Attempt,
  Backend,
  Claim,
  Lease,
  LeaseRequest,
  LossReason,
  Outcome,
} from "../internal/backend.ts";
import type { Lock, LockManager } from "../mod.ts";

/** A call that has time enough, about a claim that was never sent or never answered. */
export const CALL: Attempt = { signal: new AbortController().signal, timeout: 5_000, entered: false };

/** The same about a claim whose place the store has acknowledged. */
export const ENTERED: Attempt = entered(CALL);

/** The same that is given up after so many milliseconds. */
export function call(timeout: number = 5_000): Attempt {
  return { signal: AbortSignal.timeout(timeout), timeout, entered: false };
}

/** The same call about a claim whose place the store has acknowledged. */
export function entered(call: Attempt): Attempt {
  return { ...call, entered: true };
}

/** A claim to an exclusive lock that waits, unless said otherwise. */
export function claim(options: Partial<Claim> = {}): Claim {
  return {
    id: crypto.randomUUID(),
    key: "holdfast/k",
    limit: 1,
    ttl: 10_000,
    metadata: undefined,
    client: "tests",
    steal: false,
    wait: true,
    ...options,
  };
}

/** What a claim to a shared lock says. */
export const SHARED: Partial<Claim> = { limit: Infinity };

/** How a lease is opened; the losses that it is told of go into `lost`. */
export function request(ttl: number = 10_000, lost: [why: LossReason, id?: string][] = []): LeaseRequest {
  return {
    ttl,
    client: "tests",
    told: ({ why }, id) => void lost.push(id === undefined ? [why] : [why, id]),
    warn: () => {},
  };
}

/** A lease, and the losses that it is told of. */
export async function open(
  backend: Backend,
  ttl: number = 10_000,
): Promise<{ lease: Lease; lost: [why: LossReason, id?: string][] }> {
  const lost: [why: LossReason, id?: string][] = [];
  return { lease: await backend.lease(request(ttl, lost), CALL), lost };
}

/** Attempts as the core does: what has entered says so when it is asked about again. */
export async function enter(lease: Lease, claim: Claim): Promise<Outcome> {
  const outcome = await lease.attempt(claim, ASKED.has(claim.id) ? entered(call()) : call());
  if (outcome.state === "granted" || (outcome.state === "contended" && claim.wait)) ASKED.add(claim.id);
  return outcome;
}

/** Claims that have entered. */
const ASKED = new Set<string>();

/** The next event of a kind. */
export function next<E extends Event>(target: EventTarget, type: string): Promise<E> {
  return new Promise((resolve) =>
    target.addEventListener(type, (event) => resolve(event as E), { once: true })
  );
}

/** Resolves with the reason once the lock is over. */
export function over(lock: Lock): Promise<Error & { why?: LossReason }> {
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
