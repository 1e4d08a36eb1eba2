/**
 * Distributed locks that know when they are lost.
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 *
 * await using lock = await acquire("invoice:42");
 * console.log(lock.held, lock.token);
 * ```
 *
 * A lock's `signal` aborts the moment the lock can no longer be proven held; its `token` is greater
 * than that of every earlier holder, so that the resource itself can refuse a late write.
 *
 * `acquire`, `tryAcquire` and `locks` use a local SQLite file that all processes of this user share.
 * For a store of your own, make a {@linkcode LockManager} over one of the backends, each an entry
 * point of its own. Importing this module loads no backend and no package.
 *
 * @module
 */
import { SQLITE_TRAITS } from "./backends/sqlite/traits.ts";
import { deferred } from "./internal/deferred_backend.ts";
import { LockManager } from "./internal/manager.ts";
import type { Lock } from "./internal/lock.ts";
import type { AcquireOptions } from "./internal/options.ts";

export { LockManager } from "./internal/manager.ts";
export type { Lock } from "./internal/lock.ts";
export type { Lead } from "./internal/campaign.ts";
export type { Clock, Timer } from "./internal/clock.ts";
export type { Inspection, LockInfo, LockSnapshot, Standing } from "./internal/inspect.ts";
export type { AcquireOptions, Json, LockManagerOptions, Logger } from "./internal/options.ts";
export type { RequestCallback, RequestOptions } from "./internal/web_locks.ts";
export type { KeyWatch } from "./internal/watch.ts";
export {
  BackendError,
  type BackendErrorOptions,
  LockError,
  LockLostError,
  LockReleasedError,
  ManagerClosedError,
  QuorumError,
  type Vote,
} from "./internal/errors.ts";
export {
  AcquiredEvent,
  type Listener,
  type ListenerOptions,
  LockedEvent,
  LockErrorEvent,
  LockEvent,
  type LockEvents,
  LostEvent,
  type ManagerEvents,
  ReleasedEvent,
  RenewedEvent,
  TypedEventTarget,
  UnlockedEvent,
  WaitingEvent,
  type WatchEvents,
} from "./internal/events.ts";
export type {
  Attempt,
  Backend,
  Call,
  Claim,
  Contended,
  Entry,
  Fencing,
  Gone,
  Grant,
  Lease,
  LeaseRequest,
  LossReason,
  Mode,
  Outcome,
  Traits,
  Watcher,
} from "./internal/backend.ts";

/**
 * The default manager, over the embedded SQLite file: `HOLDFAST_DB`, else `holdfast/locks.db` in the
 * user's state folder. The file is opened at the first call. It keeps the process alive only while
 * something is held or waited for.
 */
export const locks: LockManager = /* @__PURE__ */ new LockManager(
  /* @__PURE__ */ deferred(
    "sqlite",
    SQLITE_TRAITS,
    async () => (await import("./backends/sqlite.ts")).sqlite(),
  ),
);

/**
 * Waits for a lock on the default manager; see {@linkcode LockManager.acquire}.
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 *
 * await using lock = await acquire("nightly-report", { metadata: { host: "db-1" } });
 * lock.signal.throwIfAborted();
 * ```
 */
export function acquire(key: string | readonly string[], options?: AcquireOptions): Promise<Lock> {
  return locks.acquire(key, options);
}

/**
 * Takes a lock on the default manager if it is free; see {@linkcode LockManager.tryAcquire}.
 *
 * ```ts
 * import { tryAcquire } from "@holdfast/lock";
 *
 * await using lock = await tryAcquire("nightly-report");
 * if (lock === undefined) console.log("somebody else is at it");
 * ```
 */
export function tryAcquire(
  key: string | readonly string[],
  options?: AcquireOptions,
): Promise<Lock | undefined> {
  return locks.tryAcquire(key, options);
}
