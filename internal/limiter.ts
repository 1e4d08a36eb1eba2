/** As much of an `AbortSignal` as ends a waiting. */
export interface Ending {
  /** It has ended. */
  readonly aborted: boolean;
  /** Why. */
  readonly reason: unknown;
  /** Calls `heard` once, at the end. */
  addEventListener(type: "abort", heard: () => void, options: { readonly once: true }): void;
  /** Does not call it any more. */
  removeEventListener(type: "abort", heard: () => void): void;
}

/** How work waits for its turn. */
export interface Patience {
  /** Ends the waiting; the work then fails with its reason. Looked at only where the work has to wait. */
  readonly signal?: Ending;
  /** Such work goes before all other. */
  readonly urgent?: boolean;
}

/**
 * Does so many things at a time, the others in the order in which they came. What is asked of a store by thousands
 * goes through a limiter: a store refuses or delays what comes all at once, and what waits here costs the store
 * nothing.
 */
export class Limiter {
  #free: number;
  readonly #urgent = new Set<() => void>();
  readonly #others = new Set<() => void>();

  /** `atOnce` may be Infinity. */
  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /**
   * Does the work, in this very turn of the event loop if there is room.
   *
   * @throws the reason of `signal`, and nothing was begun, if it aborts while the work waits
   */
  run<T>(work: () => Promise<T>, patience: Patience = {}): Promise<T> {
    return this.enter() ? this.#begin(work) : this.wait(patience).then(() => this.#begin(work));
  }

  /** Takes a place, if one is free: whoever has it has to {@linkcode leave}. */
  enter(): boolean {
    if (this.#free <= 0) return false;
    this.#free--;
    return true;
  }

  /** Waits for a place, and takes it. */
  wait({ signal, urgent = false }: Patience): Promise<void> {
    const line = urgent ? this.#urgent : this.#others;
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal?.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = () => {
        line.delete(enter);
        reject(signal!.reason);
      };
      if (signal?.aborted) return giveUp();
      signal?.addEventListener("abort", giveUp, { once: true });
      line.add(enter);
    });
  }

  /** Gives a place back. */
  readonly leave = (): void => {
    for (const line of [this.#urgent, this.#others]) {
      for (const enter of line) {
        line.delete(enter);
        return enter();
      }
    }
    this.#free++;
  };

  #begin<T>(work: () => Promise<T>): Promise<T> {
    let done: Promise<T>;
    try {
      done = work();
    } catch (error) {
      done = Promise.reject(error);
    }
    done.then(this.leave, this.leave);
    return done;
  }
}
