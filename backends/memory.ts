/**
 * Locks inside one process: for tests, for a single server, and as the smallest example of a backend.
 *
 * What it does not promise: anything beyond this process. Nothing is stored; tokens start again at 1
 * with every `memory()`, and two `memory()` objects know nothing of each other. A worker thread is
 * another process in this sense.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { memory } from "@holdfast/lock/memory";
 *
 * await using locks = new LockManager(memory());
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * @module
 */
import type { Backend, Entry, Lease, LeaseRequest, Traits, Watcher } from "../internal/backend.ts";
import { MemoryLease } from "./memory/lease.ts";
import { Queues } from "./memory/queues.ts";
import { MEMORY_TRAITS } from "./memory/traits.ts";

/** Options of {@linkcode memory}. */
export interface MemoryOptions {
  /** Monotonic milliseconds, by which claims expire. @default {performance} */
  readonly clock?: { now(): number };
}

/** A store that lives in this object. */
export function memory(options: MemoryOptions = {}): Backend {
  return new MemoryBackend(options.clock ?? performance);
}

class MemoryBackend implements Backend {
  readonly name = "memory";
  readonly traits: Traits = MEMORY_TRAITS;
  readonly #queues: Queues;

  constructor(clock: { now(): number }) {
    this.#queues = new Queues(clock);
  }

  lease(request: LeaseRequest): Promise<Lease> {
    return Promise.resolve(new MemoryLease(this.#queues, request));
  }

  list(scope: string): Promise<Entry[]> {
    return Promise.resolve(this.#queues.list(scope));
  }

  watch(key: string, watcher: Watcher): Promise<AsyncDisposable> {
    return Promise.resolve(this.#queues.watch(key, watcher));
  }

  /** Nothing was opened. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
