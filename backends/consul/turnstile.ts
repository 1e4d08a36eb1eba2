/** Lets so many in at a time, in the order in which they come. */
export class Turnstile {
  readonly #line = new Set<() => void>();
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  /** Does it when there is a place. Rejects, without having begun, when the signal aborts before. */
  async pass<T>(turn: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#enter(signal);
    try {
      return await turn();
    } finally {
      this.#leave();
    }
  }

  #enter(signal: AbortSignal): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const give = (): void => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const stop = (): void => {
        this.#line.delete(give);
        reject(signal.reason);
      };
      if (signal.aborted) return stop();
      signal.addEventListener("abort", stop, { once: true });
      this.#line.add(give);
    });
  }

  #leave(): void {
    const [next] = this.#line;
    if (next === undefined) this.#free++;
    else {
      this.#line.delete(next);
      next();
    }
  }
}
