import type { Call } from "../../../internal/backend.ts";
import { BackendError } from "../../../internal/errors.ts";
import type { Connection } from "./connection.ts";

/** How many expressions one statement has at most: it keeps what it has locked until its end. */
const MOST = 64;

/** Milliseconds that a statement may take, however little time its calls have. */
const SILENCE = 300;

interface Pending {
  readonly order: string;
  readonly expression: string;
  readonly call: Call;
  readonly resolve: (value: string | null) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Expressions of one kind. What is asked for while a statement is under way goes together in the next one, which
 * waits for the disk once for all of them.
 */
export class Gather {
  readonly #connection: Connection;
  /** What is evaluated after them, for all of them together. */
  readonly #last: string;
  #pending: Pending[] = [];
  /** Until when the statement that is under way may take; `undefined` if there is none. */
  #until: number | undefined;
  #turn = 0;

  constructor(connection: Connection, last: string) {
    this.#connection = connection;
    this.#last = last;
  }

  /** Evaluates one; all together in the order of a name, so that no two statements wait for each other. */
  run(order: string, expression: string, call: Call): Promise<string | null> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ order, expression, call, resolve, reject });
      if (this.#until === undefined || performance.now() > this.#until) this.#next();
    });
  }

  #next(): void {
    this.#until = undefined;
    const pending = this.#pending.filter(({ call, reject }) => {
      if (call.signal.aborted) {
        reject(Object.assign(new BackendError("Cannot wait any longer"), { unsent: true }));
      }
      return !call.signal.aborted;
    });
    const some = pending.slice(0, MOST).sort((a, b) => a.order < b.order ? -1 : a.order > b.order ? 1 : 0);
    this.#pending = pending.slice(MOST);
    if (some.length > 0) void this.#send(some);
  }

  async #send(some: readonly Pending[]): Promise<void> {
    const turn = ++this.#turn;
    const timeout = Math.max(...some.map(({ call }) => call.timeout));
    this.#until = performance.now() + Math.max(timeout, SILENCE);
    await this.#evaluate(some, timeout);
    if (turn === this.#turn) this.#next();
  }

  async #evaluate(some: readonly Pending[], timeout: number): Promise<void> {
    const call: Call = { signal: some[0]!.call.signal, timeout };
    let sent = false;
    try {
      await this.#connection.ready(call);
      sent = true;
      const all = [...some.map(({ expression }) => expression), this.#last];
      const values = await this.#connection.evaluate(all, call);
      some.forEach(({ resolve }, n) => resolve(values[n]!));
    } catch (error) {
      // What one of them may not do, or has to wait for, the others need not.
      if (sent && some.length > 1 && (error as { unsent?: boolean }).unsent === true) {
        for (const each of some) await this.#evaluate([each], each.call.timeout);
      } else {
        for (const { reject } of some) reject(error);
      }
    }
  }
}
