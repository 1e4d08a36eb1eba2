import { BackendError, LockLostError, LockReleasedError, ManagerClosedError } from "./errors.ts";
import type { Lock } from "./lock.ts";

/** What the leader does; `signal` aborts when the term ends or the campaign does. */
export type Lead = (term: Lock, signal: AbortSignal) => unknown;

/** What a campaign needs of its manager. */
export interface Electorate {
  /** Stands for election. */
  acquire(signal: AbortSignal | undefined): Promise<Lock>;
  /** @throws {ManagerClosedError} once it is being closed */
  refuseIfClosed(): void;
  /** A pause, longer after each failure. */
  rest(failures: number): { over: Promise<void>; end: () => void };
  /** The store is away. */
  failed(error: BackendError): void;
}

/** Term after term, until `signal` aborts or `lead` throws. */
export async function campaign(
  manager: Electorate,
  signal: AbortSignal | undefined,
  lead: Lead,
): Promise<void> {
  for (let failures = 0; !signal?.aborted;) {
    try {
      await serve(manager, await manager.acquire(signal), signal, lead);
      failures = 0;
    } catch (error) {
      if (error instanceof Thrown) throw error.cause;
      if (signal?.aborted) return;
      if (!(error instanceof BackendError)) throw error;
      manager.failed(error);
      failures++;
    }
    if (signal?.aborted) return;
    manager.refuseIfClosed();
    const rest = manager.rest(failures);
    signal?.addEventListener("abort", rest.end, { once: true });
    await rest.over;
    signal?.removeEventListener("abort", rest.end);
  }
}

/** The same outcome, of which a failure of one kind is not an unhandled rejection if nobody waits for it. */
export function heedless<T>(outcome: Promise<T>, kind: new (...args: never[]) => Error): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  outcome.then(resolve, (error) => {
    if (error instanceof kind) promise.catch(() => {});
    reject(error);
  });
  return promise;
}

/** What `lead` threw, told apart from what the manager did. */
class Thrown extends Error {}

async function serve(
  manager: Electorate,
  term: Lock,
  signal: AbortSignal | undefined,
  lead: Lead,
): Promise<void> {
  manager.refuseIfClosed(); // which gives up the term as well
  const ended = signal === undefined ? term.signal : AbortSignal.any([term.signal, signal]);
  try {
    // It may have been lost between the grant and this moment.
    if (!ended.aborted) await lead(term, ended);
  } catch (cause) {
    if (!ended.aborted || !tellsOfAbort(cause, ended)) throw new Thrown("lead", { cause });
  } finally {
    await term[Symbol.asyncDispose]();
  }
}

/**
 * Whether an error says no more than that the signal has aborted: its reason, what the platform's calls make of it
 * (an `AbortError`, of which Node's carries the reason as its cause), or what a lock that is over says.
 */
function tellsOfAbort(error: unknown, { reason }: AbortSignal): boolean {
  return error === reason || error instanceof LockLostError || error instanceof LockReleasedError ||
    error instanceof ManagerClosedError ||
    (error instanceof Error && (error.name === "AbortError" || error.cause === reason));
}
