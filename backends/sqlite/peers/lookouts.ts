import { clearTimeout, setTimeout } from "../client/builtin.ts";

/** A waiter or a watch that cannot be told, or may not be. */
export interface Lookout {
  /** The version of the file that is known already; see `DatabaseFile.version`. */
  version: number;
  /** The session whose end is of interest, if one is. */
  readonly session?: string;
  /** Whether it wants to look each time: an end is no change of the file. */
  readonly always?: boolean;
  /** Something has changed since that version; what a session had that has ended is gone by then. */
  seen(): void;
}

/**
 * Looks into the file again and again for those who cannot be told of a change by its author: where processes do
 * not reach each other's sockets. One look for all of them, and only while there is one; it keeps no process alive.
 */
export class Lookouts {
  readonly #file: { peek(): number | undefined };
  readonly #bury: (session: string) => Promise<boolean>;
  readonly #period: number;
  readonly #all = new Set<Lookout>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #looking = false;

  /** The file's version; how the remains of a session that has ended are removed; and a period in milliseconds. */
  constructor(
    file: { peek(): number | undefined },
    bury: (session: string) => Promise<boolean>,
    period: number,
  ) {
    this.#file = file;
    this.#bury = bury;
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
    if (this.#timer !== undefined || this.#looking || this.#all.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#looking = true;
      this.#look().catch(() => {}).finally(() => {
        this.#looking = false;
        this.#rest();
      });
    }, this.#period);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    for (const session of new Set([...this.#all].map((lookout) => lookout.session))) {
      if (session !== undefined) await this.#bury(session);
    }
    const version = this.#file.peek();
    if (version === undefined) return this.#tell([...this.#all]);
    const due = [...this.#all].filter((lookout) => lookout.always || lookout.version !== version);
    for (const lookout of due) lookout.version = version;
    this.#tell(due);
  }

  /** Where there is nothing to be seen, they find out by themselves what has become of it. */
  #tell(lookouts: readonly Lookout[]): void {
    for (const lookout of lookouts) if (this.#all.has(lookout)) lookout.seen();
  }
}
