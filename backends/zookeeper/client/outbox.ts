import type { Operation } from "./operations.ts";

/** A request that has not been answered. */
export interface Pending {
  /** What was asked. */
  readonly operation: Operation<unknown>;
  /** Settles with the answer. */
  readonly promise: Promise<unknown>;
  /** The answer has come. */
  readonly resolve: (value: unknown) => void;
  /** The answer is a refusal, or never comes. */
  readonly reject: (error: unknown) => void;
}

/**
 * What has not been sent. A server works through a connection's requests one after the other: what is
 * urgent cannot overtake what has been sent, but all that waits here.
 */
export class Outbox {
  readonly #urgent = new Set<Pending>();
  readonly #others = new Set<Pending>();
  readonly #looks = new Map<string, Pending>();

  /** Takes a request in. */
  put<T>(operation: Operation<T>): Promise<T> {
    const { urgent, look } = operation;
    let pending = look === undefined ? undefined : this.#looks.get(look);
    if (pending === undefined) pending = { operation, ...Promise.withResolvers<unknown>() };
    else this.#others.delete(pending);
    if (look !== undefined) this.#looks.set(look, pending);
    (urgent ? this.#urgent : this.#others).add(pending);
    return pending.promise as Promise<T>;
  }

  /** Ends a turn: looks asked for from now on do not put off those before for ever. */
  turn(): void {
    this.#looks.clear();
  }

  /** The next one to send. */
  take(): Pending | undefined {
    for (const queue of [this.#urgent, this.#others]) {
      for (const pending of queue) {
        queue.delete(pending);
        if (!pending.operation.needless?.()) return pending;
        pending.resolve(undefined);
      }
    }
  }
}
