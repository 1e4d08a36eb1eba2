import type { Alarm, Alarms } from "./alarms.ts";
import type { Attempt, Call } from "./backend.ts";
import { BackendError } from "./errors.ts";
import type { Ending } from "./limiter.ts";

/** A call, seen from the core. Its signal exists only if the backend looks at it. */
class BoundedCall implements Attempt {
  readonly timeout: number;
  readonly entered: boolean;
  #controller: AbortController | undefined;
  #abandoned = false;
  #reason: unknown;

  constructor(timeout: number, entered: boolean) {
    this.timeout = timeout;
    this.entered = entered;
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
  /** As of {@linkcode Attempt.entered}, where it is about one claim. */
  readonly entered?: boolean;
  /** The call itself. */
  send(call: Attempt): Promise<T>;
}

/**
 * Asks the store, and stops listening after the timeout: a rejection leaves the outcome unknown. What the
 * backend's promise does later is ignored.
 */
export function ask<T>(alarms: Alarms, asked: Ask<T>): Promise<T> {
  const { what, timeout, sent: at = alarms.now(), background = false, entered = false, send } = asked;
  return new Promise((resolve, reject) => {
    const call = new BoundedCall(timeout, entered);
    const alarm = alarms.set(at + timeout, () => {
      const error = new BackendError(
        `Cannot ${what()}: the store did not answer within ${Math.round(timeout)} ms`,
      );
      call.abandon(error);
      reject(error);
    }, background);
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
 * A call without a time limit, ended by `stop`. Rejections after that are ignored, and one that
 * has been answered is not told to stop: an abort costs as much as the rest of a hand-over.
 */
export function listen<T>(send: (call: Call) => Promise<T>): { heard: Promise<T>; stop: () => void } {
  const call = new BoundedCall(Infinity, true);
  let open = true;
  const close = () => void (open = false);
  const heard = sent(call, send);
  heard.then(close, close);
  return { heard, stop: () => open && call.abandon() };
}

/** The end of a waiting by time. An `AbortSignal` would cost more than what is waited for. */
export class TimeLimit implements Ending {
  /** See {@linkcode Ending}. */
  aborted = false;
  readonly #alarms: Alarms;
  readonly #ms: number;
  readonly #reason: (ms: number) => BackendError;
  #alarm: Alarm | undefined;

  /** So many milliseconds from when it is first listened to. */
  constructor(alarms: Alarms, ms: number, reason: (ms: number) => BackendError) {
    this.#alarms = alarms;
    this.#ms = ms;
    this.#reason = reason;
  }

  /** What the waiting fails with. */
  get reason(): BackendError {
    return this.#reason(this.#ms);
  }

  /** See {@linkcode Ending}. */
  addEventListener(_type: "abort", heard: () => void): void {
    this.#alarm = this.#alarms.set(this.#alarms.last + this.#ms, () => {
      this.aborted = true;
      heard();
    });
  }

  /** See {@linkcode Ending}. */
  removeEventListener(): void {
    if (this.#alarm !== undefined) this.#alarms.clear(this.#alarm);
  }
}

/** A backend that throws at once counts as one that rejects. */
function sent<T, C extends Call>(call: C, send: (call: C) => Promise<T>): Promise<T> {
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
      alarm = alarms.set(until(), ring, background);
    };
    rest();
    end = () => {
      alarms.clear(alarm);
      resolve();
    };
  });
  return { over, end };
}
