import type { Alarms } from "./alarms.ts";
import { BackendError } from "./errors.ts";

/** So many at once. */
const MOST = 256;

/**
 * Attempts to acquire take turns: however many are asked for at once, the store has so many before it that each
 * is answered in time, and a renewal, which waits for nobody, soon has its answer too.
 */
export class Turns {
  readonly #alarms: Alarms;
  readonly #waiting = new Set<PromiseWithResolvers<void>>();
  #taken = 0;

  constructor(alarms: Alarms) {
    this.#alarms = alarms;
  }

  /** Takes a turn, if there is one. Who has one gives it back. */
  take(): boolean {
    if (this.#taken >= MOST) return false;
    this.#taken++;
    return true;
  }

  /** Waits for a turn, `ms` milliseconds at most. */
  wait(ms: number): Promise<void> {
    const turn = Promise.withResolvers<void>();
    this.#waiting.add(turn);
    const alarm = this.#alarms.set({
      slot: -1,
      at: this.#alarms.last + ms,
      ring: () => {
        this.#waiting.delete(turn);
        turn.reject(
          new BackendError(
            `Cannot ask the store: it has answered none of ${MOST} earlier calls in ${Math.round(ms)} ms`,
          ),
        );
      },
    });
    return turn.promise.finally(() => this.#alarms.clear(alarm));
  }

  /** The next one's turn. */
  give(): void {
    for (const turn of this.#waiting) {
      this.#waiting.delete(turn);
      return turn.resolve();
    }
    this.#taken--;
  }
}
