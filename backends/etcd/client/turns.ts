import { clearTimeout, setTimeout } from "node:timers";
import { Limiter, type Patience } from "../../../internal/limiter.ts";
import { EtcdError } from "./errors.ts";

/**
 * So many calls at a time, the others in order, as long as they have time. etcd refuses calls when thousands are
 * under way, and Node breaks them off; waiting on this side costs nothing.
 */
export class Turns {
  readonly #limiter: Limiter;

  constructor(atOnce: number) {
    this.#limiter = new Limiter(atOnce);
  }

  /**
   * Does the work in its turn, at once if there is room; `waited` tells how many milliseconds that took.
   *
   * @throws {EtcdError} If that takes as long as `timeout`.
   */
  run<T>(work: (waited: number) => Promise<T>, timeout: number): Promise<T> {
    const turn = new Turn(timeout);
    return this.#limiter.run(() => work(turn.begin()), turn);
  }
}

/** The turn of one call. Only a call that has to wait costs a timer. */
class Turn implements Patience {
  readonly #timeout: number;
  #since: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(timeout: number) {
    this.#timeout = timeout;
  }

  /** Read once, by the limiter, where the call has to wait: from then on its time runs. */
  get signal(): AbortSignal {
    const late = new AbortController();
    this.#since = performance.now();
    this.#timer = setTimeout(() => late.abort(EtcdError.unsent(this.#timeout)), this.#timeout);
    return late.signal;
  }

  /** The waiting is over; how many milliseconds it took, less than the call has. */
  begin(): number {
    if (this.#since === undefined) return 0;
    clearTimeout(this.#timer);
    return Math.min(this.#timeout - 1, performance.now() - this.#since);
  }
}
