/** Those who go one after the other. */
interface Line {
  /** The last that goes alone has left. */
  last: Promise<unknown>;
  /** Those behind it that go together have left. */
  together: Promise<void>[];
  members: number;
  /** Resolves once a call has failed: the order is lost, so the others may go. */
  readonly open: Promise<void>;
  readonly disperse: () => void;
}

/**
 * Lets the claims of this process for one key out to the store in order of arrival: first come, first served holds
 * for those who ask without waiting, too. A claim goes alone, or together with those beside it that need no order
 * among themselves.
 */
export class Entrances {
  readonly #lines = new Map<string, Line>();

  /**
   * Resolves when it is this claim's turn, with what to call when the store has answered, or has `failed`
   * to: then there is no order left to keep, and a store that is away holds no claim up.
   */
  async take(key: string, alone: boolean): Promise<(failed?: boolean) => void> {
    const line = this.#lines.get(key) ?? newLine();
    this.#lines.set(key, line);
    line.members++;
    const { promise: left, resolve } = Promise.withResolvers<void>();
    const before = alone ? Promise.all([line.last, ...line.together]) : line.last;
    if (!alone) line.together.push(left);
    else {
      line.last = left;
      line.together = [];
    }
    await Promise.race([before, line.open]);
    let inside = true;
    return (failed = false) => {
      if (!inside) return;
      inside = false;
      if (failed) line.disperse();
      if ((--line.members === 0 || failed) && this.#lines.get(key) === line) this.#lines.delete(key);
      resolve();
    };
  }

  /**
   * For a store that calls reach in the order in which they are sent, and where a claim that does not wait cannot
   * look at the queue and enter in one step: no claim that comes after it is sent before its look is over, or the
   * look would find that one in its way. `undefined`: `isTaken`, for one that looks itself, has said so.
   */
  enter<T>(
    key: string,
    isTaken: (() => Promise<boolean>) | undefined,
    enter: () => Promise<T>,
  ): Promise<T | undefined> {
    return isTaken === undefined && !this.#lines.has(key) ? enter() : this.#enter(key, isTaken, enter);
  }

  async #enter<T>(
    key: string,
    isTaken: (() => Promise<boolean>) | undefined,
    enter: () => Promise<T>,
  ): Promise<T | undefined> {
    const isFirst = !this.#lines.has(key);
    const turn = this.take(key, isTaken !== undefined);
    // The first looks in this very turn of the event loop: what is asked for in one turn goes out together.
    if (!isFirst) await turn;
    try {
      if (await isTaken?.()) return undefined;
      return enter(); // it is sent: the next one may go
    } finally {
      (await turn)();
    }
  }
}

function newLine(): Line {
  const { promise: open, resolve: disperse } = Promise.withResolvers<void>();
  return { last: Promise.resolve(), together: [], members: 0, open, disperse };
}
