import type { Alarm, Alarms } from "./alarms.ts";
import type { Call } from "./backend.ts";
import { BackendError } from "./errors.ts";

/** A call, seen from the core. Its signal exists only if the backend looks at it. */
class BoundedCall implements Call {
  readonly timeout: number;
  #controller: AbortController | undefined;
  #abandoned = false;
  #reason: unknown;

  constructor(timeout: number) {
    this.timeout = timeout;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abandoned) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abandon(reason?: unknown): void {
    this.#abandoned = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/** What is asked of the store. */
export interface Ask<T> {
  /** For errors, what follows "Cannot": `acquire lock "x"`. */
  what(): string;
  /** Milliseconds. */
  readonly timeout: number;
  /** When it is sent, if the caller has looked at the clock already. */
  readonly sent?: number;
  /** As of {@linkcode Alarm.background}. */
  readonly background?: boolean;
  /** The call itself. */
  send(call: Call): Promise<T>;
}

/**
 * Asks the store, and stops listening after the timeout: a rejection leaves the outcome unknown. The
 * backend's promise may settle later or never; nobody minds.
 */
export function ask<T>(alarms: Alarms, asked: Ask<T>): Promise<T> {
  const { what, timeout, sent: at = alarms.now(), background = false, send } = asked;
  return new Promise((resolve, reject) => {
    const call = new BoundedCall(timeout);
    const alarm = alarms.set({
      slot: -1,
      at: at + timeout,
      background,
      ring() {
        const error = new BackendError(
          `Cannot ${what()}: the store did not answer within ${Math.round(timeout)} ms`,
        );
        call.abandon(error);
        reject(error);
      },
    });
    sent(call, send).then(
      (answer) => {
        alarms.clear(alarm);
        resolve(answer);
      },
      (error) => {
        alarms.clear(alarm);
        reject(unknownOutcome(what(), error));
      },
    );
  });
}

/**
 * A call without a time limit, ended by `stop`. Rejections after that are nobody's concern, and one that
 * has been answered is not told to stop: an abort costs as much as the rest of a hand-over.
 */
export function listen<T>(send: (call: Call) => Promise<T>): { heard: Promise<T>; stop: () => void } {
  const call = new BoundedCall(Infinity);
  let open = true;
  const close = () => void (open = false);
  const heard = sent(call, send);
  heard.then(close, close);
  return { heard, stop: () => open && call.abandon() };
}

/** A backend that throws at once counts as one that rejects. */
function sent<T>(call: Call, send: (call: Call) => Promise<T>): Promise<T> {
  try {
    return send(call);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** The client's error as ours. */
export function unknownOutcome(what: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const said = error instanceof Error ? error.message : String(error);
  return new BackendError(`Cannot ${what}: ${said || "the store gave no reason"}`, { cause: error });
}

/** A pause that can be cut short. */
export interface Pause {
  /** Resolves at its end. */
  readonly over: Promise<void>;
  /** Ends it now. */
  end(): void;
}

/** A pause of some milliseconds. `background` as of {@linkcode Alarm.background}. */
export function pause(alarms: Alarms, ms: number, background = false): Pause {
  const until = alarms.now() + ms;
  return pauseUntil(alarms, () => until, background);
}

/** A pause until a time that may be put off meanwhile. */
export function pauseUntil(alarms: Alarms, until: () => number, background = false): Pause {
  let end!: () => void;
  let alarm: Alarm;
  const over = new Promise<void>((resolve) => {
    const rest = () => {
      const ring = () => until() > alarms.last ? rest() : resolve();
      alarm = alarms.set({ slot: -1, at: until(), background, ring });
    };
    rest();
    end = () => {
      alarms.clear(alarm);
      resolve();
    };
  });
  return { over, end };
}

/** How many single calls of one batch are in flight at once. */
const PARALLEL = 16;

/** Does `each` for all items, a few at a time; a failure is reported and stops nothing. */
export async function inBatches<T>(
  items: readonly T[],
  each: (item: T) => Promise<void>,
  failed: (item: T, error: unknown) => void,
): Promise<void> {
  const rest = items.values();
  const worker = async () => {
    for (const item of rest) await each(item).catch((error) => failed(item, error));
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, worker));
}
