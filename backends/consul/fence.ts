import { BackendError } from "../../internal/errors.ts";
import type { ConsulApi } from "./client/api.ts";
import type { Bounds } from "./client/http.ts";
import { encodeValue, type Operation, type Pair, type Refusal } from "./client/kv.ts";

/** The session is gone, and with it all that was locked under it. */
export class SessionEnded extends Error {
  override readonly name = "SessionEnded";
}

/** Whether a transaction was refused because a session it names does not exist. */
export function namesNoSession({ why }: Refusal): boolean {
  return /invalid session|failed session lookup/.test(why);
}

/**
 * A key of the session whose index every enter compares. To shut out the enters that may still be
 * under way, it is enough to change it: they are refused whenever they arrive. Those of other claims
 * that this hits learn that they had no effect, and are sent again.
 */
export class Fence {
  readonly #api: ConsulApi;
  readonly #session: string;
  readonly #key: string;
  /** The newest index known; 0 if none is. */
  #index = 0;
  #raising: Promise<unknown> | undefined;

  constructor(api: ConsulApi, session: string, key: string) {
    this.#api = api;
    this.#session = session;
    this.#key = key;
  }

  /** The index that enters have to compare now. */
  async index(bounds: Bounds): Promise<number> {
    if (this.#index === 0) {
      await (this.#raising ??= this.raise([], bounds).finally(() => this.#raising = undefined));
    }
    return this.#index;
  }

  /** The operation that stands guard in an enter. */
  guard(index: number): Operation {
    return { Verb: "check-index", Key: this.#key, Index: index };
  }

  /** An enter that compared this index was refused. */
  refused(index: number): void {
    if (this.#index === index) this.#index = 0;
  }

  /** Shuts out every enter sent before, and does the operations in the same step. */
  async raise(operations: readonly Operation[], bounds: Bounds): Promise<Pair[]> {
    const answer = await this.#api.transact([
      { Verb: "lock", Key: this.#key, Session: this.#session, Value: encodeValue(crypto.randomUUID()) },
      ...operations,
    ], bounds);
    if (!Array.isArray(answer)) {
      if (namesNoSession(answer)) throw new SessionEnded(answer.why);
      throw new BackendError(`Cannot shut out what may be under way: Consul refused: ${answer.why}`);
    }
    this.#index = Math.max(this.#index, answer[0]!.ModifyIndex);
    return answer;
  }
}
