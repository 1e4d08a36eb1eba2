import { Bag, type Member } from "./bag.ts";

/**
 * The acquisitions of a manager that the store may not know of yet. A call that has to see what was asked
 * before it, as `query()` and a stealing `request()` do, waits for those that are here when it comes.
 */
export class Arrivals {
  readonly #bag = new Bag<Arrival>();
  readonly #left = (arrival: Arrival): void => void this.#bag.delete(arrival);

  /** Somebody has asked for `keys`. */
  begin(keys: readonly string[], signal?: AbortSignal): Arrival {
    const arrival = new Arrival(keys, signal, this.#left);
    this.#bag.add(arrival);
    return arrival;
  }

  /**
   * Resolves once each that is here now has its place or its lock, has left the queue again, or has found
   * the store away. With a key: each of those that ask for it. Without a single one it is `undefined`.
   */
  settled(key?: string): Promise<unknown> | undefined {
    const waits = this.#bag.values()
      .filter(({ keys }) => key === undefined || keys.includes(key))
      .map((arrival) => arrival.settled());
    return waits.length > 0 ? Promise.all(waits) : undefined;
  }
}

/** One acquisition, from the call until it has its lock or has come to its end. */
export class Arrival implements Member {
  /** See {@linkcode Member}. */
  slot = -1;
  readonly keys: readonly string[];
  readonly #signal: AbortSignal | undefined;
  readonly #left: (arrival: Arrival) => void;
  #state: "coming" | "standing" | "over" = "coming";
  #stood: PromiseWithResolvers<void> | undefined;
  #ended: PromiseWithResolvers<void> | undefined;

  constructor(keys: readonly string[], signal: AbortSignal | undefined, left: (arrival: Arrival) => void) {
    this.keys = keys;
    this.#signal = signal;
    this.#left = left;
  }

  /** See {@linkcode Arrivals.settled}. One that waits is settled, unless it has been told to leave. */
  async settled(): Promise<void> {
    if (this.#state === "coming") await (this.#stood ??= Promise.withResolvers()).promise;
    if (this.#isLeaving) await (this.#ended ??= Promise.withResolvers()).promise;
  }

  /** It has a place in the queue, or the store cannot be asked. */
  stand(): void {
    if (this.#state === "coming") this.#state = "standing";
    this.#stood?.resolve();
  }

  /** It holds, or nothing of it is left. */
  end(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#left(this);
    this.#stood?.resolve();
    this.#ended?.resolve();
  }

  get #isLeaving(): boolean {
    return this.#state === "standing" && this.#signal?.aborted === true;
  }
}
