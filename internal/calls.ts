import type { Alarm, Alarms } from "./alarms.ts";
import type { Attempt, Call } from "./backend.ts";
import { BackendError } from "./errors.ts";
import type { Ending } from "./limiter.ts";

/** A call, seen from the core: an alarm that gives it up. Its signal exists only if the backend looks at it. */
class BoundedCall implements Alarm, Attempt {
  slot: number = -1;
  readonly at: number;
  readonly background: boolean;
  readonly timeout: number;
  readonly entered: boolean;
  #controller: AbortController | undefined;
  #abandoned = false;
  #reason: unknown;

  constructor(at: number, timeout: number, entered: boolean, background: boolean) {
    this.at = at;
    this.background = background;
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

  ring(): void {
    this.abandon();
  }
}

/**
 * A question to the store, which stops listening after its timeout: a rejection leaves the outcome unknown, and what
 * the backend's promise does later is ignored. Every lock asks twice at least: so it is one object without closures, and
 * the fields of derived classes are only declared, since each class with a field of its own costs V8 another 20 ns.
 */
export abstract class Question<T> extends BoundedCall {
  declare private readonly alarms: Alarms;
  declare private resolve: (answer: T) => void;
  declare private reject: (error: BackendError) => void;

  /** `sent` and `timeout` in milliseconds; `background` as of {@linkcode Alarm.background}. */
  constructor(alarms: Alarms, sent: number, timeout: number, entered = false, background = false) {
    super(sent + timeout, timeout, entered, background);
    this.alarms = alarms;
  }

  /** For errors, what follows "Cannot": `acquire lock "x"`. */
  protected abstract what(): string;

  /** The call itself, of which this is what the backend is given. */
  protected abstract send(): Promise<T>;

  /** What follows at once from the answer, before whoever asked is told. */
  protected heard(_answer: T): void {}

  /** What follows from there being none. */
  protected failed(_error: BackendError): void {}

  /** Asks, once. */
  ask(): Promise<T> {
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      this.alarms.add(this);
      let sent: Promise<T>;
      try {
        sent = this.send();
      } catch (error) {
        sent = Promise.reject(error); // a backend that throws at once counts as one that rejects
      }
      sent.then((answer) => this.#hear(answer), (error) => this.#hearNone(error));
    });
  }

  override ring(): void {
    const ms = Math.round(this.timeout);
    const error = new BackendError(`Cannot ${this.what()}: the store did not answer within ${ms} ms`);
    this.abandon(error);
    this.#fail(error);
  }

  #hear(answer: T): void {
    if (!this.alarms.clear(this)) return;
    this.heard(answer);
    this.resolve(answer);
  }

  #hearNone(error: unknown): void {
    if (this.alarms.clear(this)) this.#fail(unknownOutcome(this.what(), error));
  }

  #fail(error: BackendError): void {
    this.failed(error);
    this.reject(error);
  }
}

/** What is asked of the store. */
export interface Ask<T> {
  /** For errors, what follows "Cannot": `query the locks`. */
  what(): string;
  /** Milliseconds. */
  readonly timeout: number;
  /** As of {@linkcode Alarm.background}. */
  readonly background?: boolean;
  /** The call itself. */
  send(call: Call): Promise<T>;
}

class PlainQuestion<T> extends Question<T> {
  declare private readonly asked: Ask<T>;

  constructor(alarms: Alarms, asked: Ask<T>) {
    super(alarms, alarms.now(), asked.timeout, false, asked.background);
    this.asked = asked;
  }

  protected override what(): string {
    return this.asked.what();
  }

  protected override send(): Promise<T> {
    return this.asked.send(this);
  }
}

/** Asks the store something that no single claim depends on: see {@linkcode Question}. */
export function ask<T>(alarms: Alarms, asked: Ask<T>): Promise<T> {
  return new PlainQuestion(alarms, asked).ask();
}

/**
 * A call without a time limit, ended by `stop`. Rejections after that are ignored, and one that
 * has been answered is not told to stop: an abort costs as much as the rest of a hand-over.
 */
export function listen<T>(send: (call: Call) => Promise<T>): { heard: Promise<T>; stop: () => void } {
  const call = new BoundedCall(Infinity, Infinity, true, true);
  let open = true;
  const close = () => void (open = false);
  const heard = (async () => await send(call))();
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
