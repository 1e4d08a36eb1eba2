import process from "node:process";
import type { Call } from "../../internal/backend.ts";
import type { BackendError } from "../../internal/errors.ts";
import type { Connection } from "./connection.ts";
import type { Script } from "./script.ts";

/** How many keys one call names at most: Redis serves nobody else for less than half a millisecond. */
const MOST = 100;

/** One operation on one key, as two scripts know it. */
export interface Operation {
  /** Does it in any case. `KEYS`: the key. `ARGV`: what it takes. */
  readonly one: Script;
  /**
   * Does it for many keys, where the queue is short. `KEYS`: the keys. `ARGV`: `size` for each.
   * Replies for each what `one` would, or nil if that has to be asked.
   */
  readonly many: Script;
  readonly size: number;
}

interface Pending {
  readonly key: string;
  readonly args: readonly (string | number)[];
  readonly call: Call;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Operations of the same kind that are asked for in one turn of the event loop: the first leaves at once,
 * all others together in one call, which costs both sides a fraction of as many.
 */
export class Gather {
  readonly #connection: Connection;
  readonly #operation: Operation;
  /** What follows the first of this turn; `undefined` before that. */
  #pending: Pending[] | undefined;

  constructor(connection: Connection, operation: Operation) {
    this.#connection = connection;
    this.#operation = operation;
  }

  /** What `one` replies. Missing arguments are empty. */
  run(key: string, args: readonly (string | number)[], call: Call): Promise<unknown> {
    if (this.#pending === undefined) {
      this.#pending = [];
      process.nextTick(this.#leave);
      return this.#send(this.#operation.one, [1, key, ...args], call);
    }
    const pending = this.#pending;
    return new Promise((resolve, reject) => pending.push({ key, args, call, resolve, reject }));
  }

  readonly #leave = (): void => {
    const all = this.#pending!;
    this.#pending = undefined;
    if (all.length <= 1 || !this.#connection.joins) { for (const each of all) this.#alone(each); }
    else for (let at = 0; at < all.length; at += MOST) this.#together(all.slice(at, at + MOST));
  };

  #alone({ key, args, call, resolve, reject }: Pending): void {
    this.#send(this.#operation.one, [1, key, ...args], call).then(resolve, reject);
  }

  /** A client that throws counts as one that rejects. */
  #send(script: Script, args: readonly (string | number)[], call: Call): Promise<unknown> {
    try {
      return this.#connection.run(script, args, call);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #together(all: readonly Pending[]): void {
    const { many, size } = this.#operation;
    const keys: (string | number)[] = [all.length];
    const rest: (string | number)[] = [];
    let longest = all[0]!.call;
    for (const { key, args, call } of all) {
      keys.push(key);
      for (let n = 0; n < size; n++) rest.push(args[n] ?? "");
      if (call.timeout > longest.timeout) longest = call;
    }
    this.#send(many, keys.concat(rest), longest).then((replies) => {
      all.forEach((each, n) => {
        const reply = (replies as unknown[])[n] ?? undefined;
        if (reply === undefined) this.#alone(each);
        else each.resolve(reply);
      });
    }, (error: BackendError) => {
      // What one of them may not do, the others may.
      for (const each of all) {
        if (error.retryable) each.reject(error);
        else this.#alone(each);
      }
    });
  }
}
