import { BackendError } from "./errors.ts";
import type { Lock } from "./lock.ts";

/** What the leader does; `signal` aborts when the term ends or the campaign does. */
export type Lead = (term: Lock, signal: AbortSignal) => unknown;

/** What a campaign needs of its manager. */
export interface Electorate {
  /** Stands for election. */
  acquire(signal: AbortSignal | undefined): Promise<Lock>;
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
      await serve(await manager.acquire(signal), signal, lead);
      failures = 0;
    } catch (error) {
      if (error instanceof Thrown) throw error.cause;
      if (signal?.aborted) return;
      if (!(error instanceof BackendError)) throw error;
      manager.failed(error);
      failures++;
    }
    if (signal?.aborted) return;
    const rest = manager.rest(failures);
    signal?.addEventListener("abort", rest.end, { once: true });
    await rest.over;
    signal?.removeEventListener("abort", rest.end);
  }
}

/** What `lead` threw, told apart from what the manager did. */
class Thrown extends Error {}

async function serve(term: Lock, signal: AbortSignal | undefined, lead: Lead): Promise<void> {
  const ended = signal === undefined ? term.signal : AbortSignal.any([term.signal, signal]);
  try {
    await lead(term, ended);
  } catch (cause) {
    const isAbort = cause === ended.reason || (cause instanceof DOMException && cause.name === "AbortError");
    if (!ended.aborted || !isAbort) throw new Thrown("lead", { cause });
  } finally {
    await term[Symbol.asyncDispose]();
  }
}
