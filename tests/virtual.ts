/** A world for unit tests in which time passes when it is told to. */
import { setImmediate } from "node:timers";
import { memory } from "../backends/memory.ts";
import type { Traits } from "../internal/backend.ts";
import type { Timer } from "../internal/clock.ts";
import { type Clock, LockManager, type LockManagerOptions } from "../mod.ts";
import { FaultyBackend } from "./conformance/faulty.ts";

/** Of the locks, unless said otherwise. */
export const TTL = 10_000;

/** A clock that stands still until it is told to move on. */
export class VirtualClock implements Clock {
  /** Longest time any timer was set for. */
  longest = 0;
  #now = 1_000;
  #wall = 1_700_000_000_000;
  readonly #timers = new Set<{ at: number; wake: () => void }>();

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#wall;
  }

  timer(ms: number, wake: () => void): Timer {
    this.longest = Math.max(this.longest, ms);
    const timer = { at: this.#now + ms, wake };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** How many timers are set. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Time passes and nothing runs: the event loop is blocked, or the process stopped. */
  block(ms: number): void {
    this.#now += ms;
    this.#wall += ms;
  }

  /** The machine sleeps: only the wall clock goes on. */
  suspend(ms: number): void {
    this.#wall += ms;
  }

  /** Time passes, timers ring. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = [...this.#timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#timers.delete(next);
      this.block(Math.max(0, next.at - this.#now));
      next.wake();
    }
    this.block(end - this.#now);
    await settle();
  }
}

/** Lets promises run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A manager over a store, both by one clock, and the network between them. */
export interface World {
  readonly clock: VirtualClock;
  readonly store: FaultyBackend;
  readonly locks: LockManager;
}

/** A new one. `traits`: what the store says of itself, if not that it is memory. */
export function world(options: LockManagerOptions = {}, traits: Partial<Traits> = {}): World {
  const clock = new VirtualClock();
  const backend = memory({ clock });
  const store = new FaultyBackend(Object.assign(backend, { traits: { ...backend.traits, ...traits } }));
  const locks = new LockManager(store, { clock, random: () => 0.5, ttl: TTL, ...options });
  return { clock, store, locks };
}
