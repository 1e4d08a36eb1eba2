import type { Transactions } from "./transactions.ts";

/** Somebody who cannot be told, or may not be. */
export interface Lookout {
  /** The version of the file that is known already; see `Claims.version`. */
  version: number;
  /** The session whose end is of interest, if one is. */
  readonly session?: string;
  /** Something has changed since that version, or that session has ended. */
  seen(): void;
}

/**
 * Looks into the file again and again for those who cannot be told of a change by its author: where processes do
 * not reach each other's sockets. One look for all of them, and only while there is one; it keeps no process alive.
 */
export class Lookouts {
  readonly #transactions: Transactions;
  readonly #period: number;
  readonly #all = new Set<Lookout>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** The period is in milliseconds. */
  constructor(transactions: Transactions, period: number) {
    this.#transactions = transactions;
    this.#period = period;
  }

  /** Returns the cancellation. */
  add(lookout: Lookout): () => void {
    this.#all.add(lookout);
    this.#rest();
    return () => {
      this.#all.delete(lookout);
      if (this.#all.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  #rest(): void {
    if (this.#timer !== undefined || this.#all.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#look().catch(() => this.#tell([...this.#all])).finally(() => {
        this.#timer = undefined;
        this.#rest();
      });
    }, this.#period);
    (this.#timer as { unref?(): void }).unref?.();
  }

  async #look(): Promise<void> {
    const all = [...this.#all];
    const sessions = new Set(all.map(({ session }) => session));
    const { version, dead } = await this.#transactions.read((claims) => ({
      version: claims.version,
      dead: [...sessions].filter((session) => session !== undefined && claims.isDead(session)),
    }));
    const due = all.filter((lookout) => lookout.version !== version || dead.includes(lookout.session));
    for (const lookout of due) lookout.version = version;
    this.#tell(due);
  }

  /** What cannot be looked at, they find out by themselves. */
  #tell(lookouts: readonly Lookout[]): void {
    for (const lookout of lookouts) if (this.#all.has(lookout)) lookout.seen();
  }
}
