import { Alarms } from "./alarms.ts";
import type { Backend } from "./backend.ts";
import type { Clock } from "./clock.ts";
import { Entrances } from "./entrances.ts";
import { Limiter } from "./limiter.ts";
import type { Logger } from "./options.ts";

/** Milliseconds that a call may take, and failed ones may be repeated, once the manager is being closed. */
const PARTING = 3_000;

/** Milliseconds that a call may take at most, however long the ttl and the patience of the manager are. */
const LONGEST = 10_000;

/**
 * Attempts to acquire that the store has before it at once: so few that each is answered in time, and that a renewal,
 * which waits for none of them, soon has its answer too.
 */
export const ATTEMPTS = 256;

/** What pino's loggers are known by. They drop what comes after a message, and take details before it. */
const PINO = Symbol.for("pino.serializers");

/** A logger of pino. */
type DetailsFirst = { [level in keyof Logger]-?: (details: object, message: string) => void };

/** What the parts of one manager share. */
export class Core {
  /** The store. */
  readonly backend: Backend;
  /** Id of the manager, as `query()` shows it. */
  readonly client: string = crypto.randomUUID();
  /** Every deadline and every wait. */
  readonly alarms: Alarms;
  /** Of attempts to acquire. */
  readonly limiter: Limiter = new Limiter(ATTEMPTS);
  /** For stores that calls may reach in another order. */
  readonly entrances: Entrances | undefined;
  /** The manager is being closed: a store that is away is not waited for long. */
  closing = false;
  readonly #random: () => number;
  readonly #retryFor: number;
  readonly #logger: Logger | undefined;

  constructor(
    backend: Backend,
    options: { clock: Clock; random: () => number; retryFor: number; logger?: Logger },
  ) {
    this.backend = backend;
    this.alarms = new Alarms(options.clock);
    this.entrances = backend.traits.inOrder ? undefined : new Entrances();
    this.#random = options.random;
    this.#retryFor = options.retryFor;
    this.#logger = options.logger;
  }

  /**
   * Milliseconds to wait for an answer: long enough for a slow store, short against the ttl, and short against
   * the time in which failed calls are repeated, so that one silent server does not eat up all of it.
   */
  callTimeout(ttl: number): number {
    const some = Math.max(this.#retryFor, LONGEST) / 3;
    return Math.min(Math.max(ttl / 3, 1_000), some, this.patience(LONGEST));
  }

  /** So many milliseconds, or fewer while the manager is being closed. */
  patience(ms: number): number {
    return this.closing ? Math.min(ms, PARTING) : ms;
  }

  /** Milliseconds before try number `failures + 1`: from 20, doubling, jittered, at most `most`. */
  backoff(failures: number, most: number): number {
    return Math.min(20 * 2 ** Math.min(failures, 10), most) * (0.5 + this.#random() / 2);
  }

  /** Tells the logger, if there is one; its faults are its own. */
  log(level: keyof Logger, message: string, details: Record<string, unknown>): void {
    const logger = this.#logger;
    if (logger === undefined) return;
    const text = `holdfast: ${message}`;
    try {
      if (PINO in logger) (logger as unknown as DetailsFirst)[level](details, text);
      else logger[level]?.(text, details);
    } catch {
      // A logger must not disturb a lock.
    }
  }
}
