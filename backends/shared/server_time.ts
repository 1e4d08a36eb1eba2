/**
 * What is known of a server's clock: each answer that says its time was given after the call was sent, and before
 * the answer came. Its times are microseconds, ours are milliseconds of `performance.now()`.
 */
export class ServerTime {
  /** Its time minus ours, in microseconds: at least, and at most. */
  #least = -Infinity;
  #most = Infinity;

  /** Learns from an answer to what was sent at a time of ours. */
  learn(time: number, sent: number, answered: number = performance.now()): void {
    if (!Number.isFinite(time)) return;
    const [least, most] = [time - answered * 1_000, time - sent * 1_000];
    // Clocks do not keep pace for ever, and some are set: an answer that contradicts those before counts alone.
    const agrees = least <= this.#most && most >= this.#least;
    this.#least = agrees ? Math.max(least, this.#least) : least;
    this.#most = agrees ? Math.min(most, this.#most) : most;
  }

  /** The next answer may come from another server. */
  forget(): void {
    [this.#least, this.#most] = [-Infinity, Infinity];
  }

  /** The server's time now; `undefined` before the first answer. */
  get now(): number | undefined {
    return this.#most === Infinity ? undefined : Math.round(this.#most + performance.now() * 1_000);
  }

  /** The server's time at a time of ours; late rather than early. */
  at(ours: number): number {
    return Math.ceil(this.#most + ours * 1_000);
  }

  /** By how many microseconds {@linkcode at} may be late at most. */
  get uncertainty(): number {
    return Math.ceil(this.#most - this.#least);
  }
}
