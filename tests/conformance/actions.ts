import type { Lock, LockManager } from "../../mod.ts";
import { fail, show, within } from "./assert.ts";
import type { AcquireOptions } from "./scene.ts";

/** The next event of a kind. Listen first, then do what causes it. */
export function next<E extends Event = Event>(
  target: EventTarget,
  type: string,
  wanted: (event: E) => boolean = () => true,
): Promise<E> {
  const event = new Promise<E>((resolve) => {
    const listener = (event: Event): void => {
      if (!wanted(event as E)) return;
      target.removeEventListener(type, listener);
      resolve(event as E);
    };
    target.addEventListener(type, listener);
  });
  return within(event, `the event "${type}"`);
}

/** Every event of some kinds, as it comes. */
export function record(target: EventTarget, types: readonly string[]): Event[] {
  const events: Event[] = [];
  for (const type of types) target.addEventListener(type, (event) => events.push(event));
  return events;
}

/** Acquires, with a bound. */
export function acquired(manager: LockManager, key: string, options?: AcquireOptions): Promise<Lock> {
  return within(manager.acquire(key, options), `lock ${show(key)}`);
}

/** An acquisition that has taken its place in the queue. */
export interface Waiter {
  /** What it waits for. */
  readonly lock: Promise<Lock>;
}

/** Starts an acquisition and returns once it waits. Fails if it is granted instead. */
export async function waiter(manager: LockManager, key: string, options?: AcquireOptions): Promise<Waiter> {
  const waiting = next(manager, "waiting", (event: Event & { key?: string }) => event.key === key);
  waiting.catch(() => {});
  const lock = manager.acquire(key, options);
  lock.catch(() => {});
  const granted = lock.then((lock) =>
    fail(`lock ${show(key)} was granted (token ${lock.token}) instead of waiting`)
  );
  granted.catch(() => {});
  await Promise.race([waiting, granted]);
  const bounded = within(lock, `a waiter of ${show(key)} to be granted`);
  bounded.catch(() => {});
  return { lock: bounded };
}

/**
 * Starts an acquisition and returns once it waits. Or holds: for a key whose holder lives for a few seconds, of which
 * a busy machine may have taken all.
 */
export async function successor(manager: LockManager, key: string): Promise<Waiter> {
  const waiting = next(manager, "waiting", (event: Event & { key?: string }) => event.key === key);
  waiting.catch(() => {});
  const lock = acquired(manager, key);
  lock.catch(() => {});
  await Promise.race([waiting, lock]);
  return { lock };
}

/** Resolves once a lock's signal has aborted. */
export function over(lock: Lock): Promise<unknown> {
  const { signal } = lock;
  if (signal.aborted) return Promise.resolve(signal.reason);
  const aborted = new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(signal.reason), { once: true });
  });
  return within(aborted, `the signal of lock ${show(lock.key)} to abort`);
}

/** Who holds a key and who waits for it, by what they say of themselves. */
export async function standing(
  manager: LockManager,
  key: string,
): Promise<{ held: unknown[]; waiting: unknown[] }> {
  const seen = await manager.inspect(key);
  return {
    held: seen?.holders.map(({ metadata }) => metadata) ?? [],
    waiting: seen?.waiters.map(({ metadata }) => metadata) ?? [],
  };
}
