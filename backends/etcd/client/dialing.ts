import { clearTimeout, setTimeout } from "node:timers";

/** Milliseconds after which the next member is tried beside one that has said nothing yet. */
const STAGGER = 100;

/** Milliseconds after which no member is waited for any longer. */
const LIMIT = 5_000;

/** A connection that is being made. */
interface Candidate {
  /** Resolves once the member speaks. */
  readonly ready: Promise<void>;
  /** Ends it. */
  close(): void;
}

/** What came of it: the first that spoke, and those that had not by then, or have failed. */
export interface Dialed<C> {
  readonly first: C;
  readonly origin: string;
  readonly mute: readonly string[];
}

/**
 * Connects to the members one after the other, without waiting long for any: the first that speaks is
 * taken, the others are closed. One that accepts connections and says nothing costs a tenth of a second.
 *
 * @throws {Error} What the last one failed with, or that none spoke in time, or the reason of `signal`.
 */
export function dialFirst<C extends Candidate>(
  origins: readonly string[],
  open: (origin: string) => C,
  signal: AbortSignal,
): Promise<Dialed<C>> {
  const rest = [...new Set(origins)];
  const trying = new Map<string, C>();
  const mute: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<Dialed<C>>();
  let stagger: ReturnType<typeof setTimeout> | undefined;
  const end = (settle: () => void) => {
    clearTimeout(limit);
    clearTimeout(stagger);
    rest.length = 0;
    settle();
    for (const candidate of trying.values()) candidate.close();
    trying.clear();
  };
  const fail = (error: unknown) => end(() => reject(error));
  const limit = setTimeout(
    () => fail(new Error(`no member has answered within ${LIMIT} ms at ${origins.join(", ")}`)),
    LIMIT,
  ).unref();
  const next = () => {
    clearTimeout(stagger);
    const origin = rest.shift();
    if (origin === undefined) return;
    if (rest.length > 0) stagger = setTimeout(next, STAGGER).unref();
    const candidate = open(origin);
    trying.set(origin, candidate);
    candidate.ready.then(() => {
      if (!trying.delete(origin)) return;
      mute.push(...trying.keys());
      end(() => resolve({ first: candidate, origin, mute }));
    }, (error) => {
      if (!trying.delete(origin)) return;
      mute.push(origin);
      if (rest.length > 0) next();
      else if (trying.size === 0) fail(error);
    });
  };
  if (signal.aborted) fail(signal.reason);
  signal.addEventListener("abort", () => fail(signal.reason), { once: true });
  next();
  return promise;
}
