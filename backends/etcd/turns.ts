import { clearTimeout, setTimeout } from "node:timers";
import { EtcdError } from "./status.ts";

/** Somebody who waits for a turn. */
interface Waiting {
  readonly go: () => void;
  readonly fail: (error: EtcdError) => void;
}

/**
 * So many at a time, the others in order. etcd refuses calls when thousands are under way, and Node
 * breaks them off; a queue on this side costs nobody anything.
 */
export class Turns {
  #free: number;
  readonly #waiting = new Set<Waiting>();

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Takes a turn; a promise if it has to be waited for, so many milliseconds at most. */
  take(timeout: number): Promise<void> | undefined {
    if (this.#free > 0) return void this.#free--;
    return new Promise((resolve, reject) => {
      const settle = (done: () => void) => () => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        done();
      };
      const waiting: Waiting = { go: settle(resolve), fail: (error) => settle(() => reject(error))() };
      const timer = setTimeout(() => waiting.fail(EtcdError.unsent(timeout)), timeout);
      this.#waiting.add(waiting);
    });
  }

  /** Gives it back. */
  give(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#free++;
    else next.go();
  }

  /** Nobody who waits gets a turn any more. */
  end(error: EtcdError): void {
    for (const waiting of [...this.#waiting]) waiting.fail(error);
  }
}
