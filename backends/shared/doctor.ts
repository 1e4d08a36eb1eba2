/**
 * What the examinations of all stores have in common: what a finding is, what one may not see, and a lock that is
 * really taken.
 */
import type { Backend, Call, Traits } from "../../internal/backend.ts";
import { BackendError, QuorumError } from "../../internal/errors.ts";
import { LockManager } from "../../internal/manager.ts";
import { refused } from "./errors.ts";

/**
 * "unsafe": two may hold a lock, or nobody can have one, although nothing happens that the store is made to survive.
 * "note": what a fault of the store or a mistake may cost, or what could not be seen. "good": as it should be.
 */
export type Verdict = "good" | "note" | "unsafe";

/** One thing that was looked at. */
export interface Finding {
  /** A word or two: "memory", "clock". */
  readonly topic: string;
  readonly verdict: Verdict;
  /** A sentence for people, which says what to do where something is to be done. Without passwords. */
  readonly says: string;
}

/** What an examination is for. Its signal ends it; its timeout is for each question. */
export interface Checkup extends Call {
  /** Milliseconds. */
  readonly ttl: number;
  /** As of a manager: users may have rights to the keys of one prefix alone. */
  readonly prefix?: string;
}

/**
 * Looks at a store, and changes nothing in it but for a lock of its own that it takes and releases.
 *
 * @throws {BackendError} If the store cannot be reached: nothing is known then.
 */
export type Examination = AsyncGenerator<Finding, void, void>;

/** As it should be. */
export function good(topic: string, says: string): Finding {
  return { topic, verdict: "good", says };
}

/** Good to know, and no reason to do without. */
export function note(topic: string, says: string): Finding {
  return { topic, verdict: "note", says };
}

/** A reason to do without. */
export function unsafe(topic: string, says: string): Finding {
  return { topic, verdict: "unsafe", says };
}

/** What may not be seen is not guessed. */
export function unseen(topic: string, why: string): Finding {
  return note(topic, `Cannot be seen: ${why}.`);
}

/**
 * What a store has refused for good: nobody gets a lock by this URL. What may pass is thrown, and so is that its client is
 * not installed: the store has said nothing then.
 */
export function refusedFor(topic: string, error: unknown): Finding {
  const { code } = ((error as Error | undefined)?.cause ?? {}) as { code?: unknown };
  const isAnswer = error instanceof BackendError && code !== "ERR_MODULE_NOT_FOUND";
  if (isAnswer && !error.retryable) return unsafe(topic, `${error.message}.`);
  throw error;
}

/** The answer to what is asked, or, after the timeout of a question, the error that there is none. */
export function inTime<T>(what: string, { timeout, signal }: Call, asking: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(refused(what, `no answer within ${duration(timeout)}`));
    const timer = setTimeout(late, timeout);
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    asking.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    });
  });
}

/** The same finding of several places, said once: those of `places` that it is of stand before it, unless it is of all. */
export function together(found: ReadonlyMap<string, readonly Finding[]>): Finding[] {
  const where = new Map<string, { readonly finding: Finding; readonly places: string[] }>();
  for (const [place, findings] of found) {
    for (const finding of findings) {
      const { topic, verdict, says } = finding;
      const known = where.get([topic, verdict, says].join("\n"));
      if (known === undefined) where.set([topic, verdict, says].join("\n"), { finding, places: [place] });
      else known.places.push(place);
    }
  }
  return [...where.values()].map(({ finding, places }) =>
    places.length === found.size ? finding : { ...finding, says: `${places.join(", ")}: ${finding.says}` }
  );
}

/** Whether a version, such as "3.4.23", is before another one. */
export function isBefore(version: string, other: string): boolean {
  const [a, b] = [version, other].map((text) => text.split(/[.-]/).map((part) => Number.parseInt(part) || 0));
  const at = b!.findIndex((part, n) => part !== (a![n] ?? 0));
  return at >= 0 && (a![at] ?? 0) < b![at]!;
}

/** Milliseconds, for people. */
export function duration(ms: number): string {
  if (ms >= 3_600_000 && ms % 3_600_000 === 0) return `${ms / 3_600_000} h`;
  if (ms >= 1_000) return `${Number((ms / 1_000).toFixed(ms < 10_000 ? 1 : 0))} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

/** How far a clock is from that of this machine, in milliseconds; `matters`: why that is of interest. */
export function clockFinding(ahead: number, matters: string): Finding {
  const apart = Math.abs(ahead);
  if (apart < 1_000) return good("clock", "It shows the time of this machine, within a second.");
  const how = `It is ${duration(apart)} ${ahead > 0 ? "ahead of" : "behind"} this machine`;
  return note("clock", `${how}: one of the two is wrong. ${matters}`);
}

/** What is wrong with a ttl that the store does not take; `undefined` if it takes it. */
export function ttlFinding(ttl: number, { minTtl, maxTtl }: Traits): Finding | undefined {
  if (ttl >= minTtl && ttl <= maxTtl) return undefined;
  const range = `from ${duration(minTtl)} to ${duration(maxTtl)}`;
  return unsafe("ttl", `A ttl of ${duration(ttl)} is refused: this store takes one ${range}.`);
}

/** How often the way there and back is measured. */
const TIMES = 5;

/**
 * Measures how long an answer takes; then takes a lock of its own by the real backend, has a second manager wait for it,
 * hands it over and releases it: so every right that a program needs is really used.
 */
export async function* probe(backend: Backend, { ttl: asked, prefix, signal }: Checkup): Examination {
  const { minTtl, maxTtl } = backend.traits;
  const wrong = ttlFinding(asked, backend.traits);
  if (wrong !== undefined) yield wrong;
  const ttl = Math.min(Math.max(asked, minTtl), maxTtl);
  const warned = new Set<string>();
  const warn = (said: string, details: object) => {
    // What has failed is told by its own error.
    if (!("error" in details)) warned.add(said.replace("holdfast: ", ""));
  };
  const options = { ttl, retryFor: 2_000, logger: { warn }, ...(prefix !== undefined && { prefix }) };
  await using holders = new LockManager(backend, options);
  await using waiters = new LockManager(backend, options);
  const key = `holdfast doctor ${crypto.randomUUID()}`;
  try {
    yield roundTrip(await medianOf(() => holders.inspect(key)), ttl);
    yield await handOver(holders, waiters, key, signal);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    // The store has answered before: so it is there, and gives no lock.
    const isNew = error instanceof QuorumError && error.votes.some(({ answer }) => answer === "excluded");
    yield (isNew ? note : unsafe)("lock", `${error.message}.`);
  }
  for (const said of warned) yield note("warning", `${said}.`);
}

/** Milliseconds. The first call, which may have to connect, is not counted. */
async function medianOf(ask: () => Promise<unknown>): Promise<number> {
  await ask();
  const times: number[] = [];
  while (times.length < TIMES) {
    const since = performance.now();
    await ask();
    times.push(performance.now() - since);
  }
  return times.sort((a, b) => a - b)[TIMES >> 1]!;
}

async function handOver(
  holders: LockManager,
  waiters: LockManager,
  key: string,
  signal: AbortSignal,
): Promise<Finding> {
  const since = performance.now();
  const lock = await holders.tryAcquire(key, { signal });
  if (lock === undefined) {
    return unsafe("lock", "It is refused as if somebody else had it, and nobody else knows its key.");
  }
  const waiting = new Promise((resolve) => waiters.addEventListener("waiting", resolve, { once: true }));
  const next = waiters.acquire(key, { signal });
  next.catch(() => {}); // it is awaited below, unless something else fails before
  await Promise.race([waiting, next]);
  await lock.release();
  await (await next).release();
  const took = duration(performance.now() - since);
  return good("lock", `Taken, waited for by another, handed over and released: all of it in ${took}.`);
}

/** Whether a renewal, which is due every third of a ttl, has time enough. */
function roundTrip(ms: number, ttl: number): Finding {
  const says = `An answer takes ${duration(ms)}, the median of ${TIMES}`;
  const share = ms / (ttl / 3);
  const enough = duration(Math.ceil(ms * 30 / 1_000) * 1_000);
  if (share >= 1) {
    return unsafe(
      "round trip",
      `${says}: no renewal fits into a ttl of ${duration(ttl)}. Give it ${enough}.`,
    );
  }
  if (share > 0.1) {
    const left = `a ttl of ${duration(ttl)} leaves little room for a delay`;
    return note("round trip", `${says}: ${left}. Give it ${enough}.`);
  }
  return good("round trip", `${says}. A renewal is due every ${duration(ttl / 3)}.`);
}
