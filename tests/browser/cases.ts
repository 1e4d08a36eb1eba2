/** What locks do in a browser: in its pages and in its workers, with nothing but `memory()`. */
import { LockManager } from "@holdfast/lock";
import { memory } from "@holdfast/lock/memory";

/** Each rejects if it is not so. No runtime's modules are at hand here, and so no `node:assert`. */
export const cases: Readonly<Record<string, () => Promise<void>>> = {
  async "a lock is waited for, and handed over"() {
    await using locks = new LockManager(memory());
    const first = await locks.acquire("k");
    same(await locks.tryAcquire("k"), undefined);
    const waiting = new Promise((resolve) => locks.addEventListener("waiting", resolve));
    const next = locks.acquire("k", { ttl: 86_400_000 });
    await waiting;
    same((await locks.inspect("k"))?.waiters.length, 1);
    same(await first.release(), true);
    same(first.held, false);
    await using second = await next;
    same(second.token > first.token, true);
    await second.renew();
    same(second.held, true);
  },

  async "a wait is given up"() {
    await using locks = new LockManager(memory());
    await using _lock = await locks.acquire("k");
    const reason = await rejection(locks.acquire("k", { signal: AbortSignal.timeout(10) }));
    same((reason as Error).name, "TimeoutError");
  },

  async "a lock that nobody renews is lost at its deadline, and is the next one's"() {
    await using locks = new LockManager(memory());
    const { signal } = await locks.acquire("k", { ttl: 50, renew: false });
    await using _next = await locks.acquire("k");
    same(signal.aborted, true);
    same(signal.reason.why, "expired");
  },

  async "a thread that was blocked finds its lock lost"() {
    await using locks = new LockManager(memory());
    const lock = await locks.acquire("k", { ttl: 50 });
    const { signal } = lock;
    for (const end = performance.now() + 60; performance.now() < end;);
    same(lock.held, false);
    same(signal.aborted, true);
  },

  async "a lock is lost to a thief"() {
    const backend = memory();
    await using locks = new LockManager(backend);
    await using thieves = new LockManager(backend);
    const { signal } = await locks.acquire("k");
    const lost = new Promise((resolve) => signal.addEventListener("abort", resolve));
    await using _thief = await thieves.acquire("k", { steal: true });
    await lost;
    same(signal.reason.why, "stolen");
  },

  async "the Web Locks API does what the browser's own does"() {
    await using locks = new LockManager(memory());
    const theirs = await use((navigator as unknown as { locks: LockManager }).locks);
    same(JSON.stringify(await use(locks)), JSON.stringify(theirs));
  },
};

/** Runs them all at once; the names of those that failed, and why. */
export async function failures(): Promise<string[]> {
  const tried = Object.entries(cases).map(([name, run]) =>
    run().then(() => [], (error) => [`${name}: ${error?.stack ?? error}`])
  );
  return (await Promise.all(tried)).flat();
}

/** Rejects unless the two are the same. */
export function same(actual: unknown, expected: unknown): void {
  if (!Object.is(actual, expected)) throw new Error(`Expected ${String(expected)}, got ${String(actual)}`);
}

/** What a promise rejects with. */
export function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then((value) => Promise.reject(new Error(`Expected no ${value}`)), (reason) => reason);
}

/** Some of what the specification says, as it went. */
async function use(locks: LockManager): Promise<unknown[]> {
  const name = `holdfast-${crypto.randomUUID()}`; // the browser's own are everybody's
  const said: unknown[] = [];
  const shared = locks.request(name, { mode: "shared" }, async (lock) => {
    said.push(lock.mode);
    await locks.request(name, { ifAvailable: true }, (other) => void said.push(other));
    const { held = [], pending = [] } = await locks.query();
    said.push(held.filter((each) => each.name === name).length, pending.length);
    return "result";
  });
  said.push(await shared);
  const stolen = rejection(locks.request(name, () => new Promise(() => {})));
  await locks.request(name, { steal: true }, () => {});
  said.push((await stolen as DOMException).name);
  return said;
}
