/** Those who go one after the other. */
interface Line {
  /** The last that goes alone has left. */
  last: Promise<unknown>;
  /** Those behind it that go together have left. */
  together: Promise<void>[];
  members: number;
  /** Nobody has to wait any more. */
  readonly open: Promise<void>;
  readonly disperse: () => void;
}

/**
 * Lets the claims of this process for one key out to the store one after the other, where calls may
 * overtake each other on the way: first come, first served holds for those who ask without waiting, too.
 * Once a call has failed there is no order left to keep, and nobody is held up by a store that is away.
 */
export class Entrances {
  readonly #lines = new Map<string, Line>();

  /**
   * Resolves when it is this claim's turn, with what to call when the store has answered, or has `failed`
   * to. Claims that do not wait go together: whoever of them is first, none has passed anybody who waits.
   */
  async take(key: string, waits: boolean): Promise<(failed?: boolean) => void> {
    const line = this.#lines.get(key) ?? newLine();
    this.#lines.set(key, line);
    line.members++;
    const { promise: left, resolve } = Promise.withResolvers<void>();
    const before = waits ? Promise.all([line.last, ...line.together]) : line.last;
    if (!waits) line.together.push(left);
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
}

function newLine(): Line {
  const { promise: open, resolve: disperse } = Promise.withResolvers<void>();
  return { last: Promise.resolve(), together: [], members: 0, open, disperse };
}
