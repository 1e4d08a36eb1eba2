import process from "node:process";
import type { Call } from "../../../internal/backend.ts";
import type { BackendError } from "../../../internal/errors.ts";
import type { Connection } from "./connection.ts";
import { list } from "./replies.ts";
import type { Script } from "./script.ts";

/**
 * How many operations one call does at most, and how many on one key, where there is a crowd then: Redis serves
 * no other client for less than half a millisecond.
 */
const MOST = 64;
const CROWD = 20;

interface Pending {
  readonly key: string;
  readonly args: readonly string[];
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
  /** `KEYS`: the keys. `ARGV`: as many arguments for each. Replies an answer, or a list of one for each key. */
  readonly #script: Script;
  /** What follows the first of this turn; `undefined` before that. */
  #pending: Pending[] | undefined;

  constructor(connection: Connection, script: Script) {
    this.#connection = connection;
    this.#script = script;
  }

  /** Does it for one key. */
  run(key: string, args: readonly string[], call: Call): Promise<unknown> {
    if (this.#pending === undefined) {
      this.#pending = [];
      process.nextTick(this.#leave);
      return this.#send([1, key, ...args], call);
    }
    const pending = this.#pending;
    return new Promise((resolve, reject) => pending.push({ key, args, call, resolve, reject }));
  }

  readonly #leave = (): void => {
    const all = this.#pending!;
    this.#pending = undefined;
    for (const some of this.#connection.joins ? parts(all) : all.map((each) => [each])) this.#together(some);
  };

  #together(all: readonly Pending[]): void {
    let timeout = 0;
    const args: (string | number)[] = [all.length];
    for (const { key, call } of all) {
      args.push(key);
      timeout = Math.max(timeout, call.timeout);
    }
    for (const each of all) args.push(...each.args);
    this.#send(args, { ...all[0]!.call, timeout }).then((reply) => {
      const replies = all.length === 1 ? [reply] : list(reply, all.length);
      all.forEach(({ resolve }, n) => resolve(replies[n]));
    }).catch((error: BackendError) => {
      // What one of them may not do, the others may.
      if (error.retryable || all.length === 1) { for (const { reject } of all) reject(error); }
      else for (const each of all) this.#together([each]);
    });
  }

  /** A client that throws counts as one that rejects. */
  #send(args: readonly (string | number)[], call: Call): Promise<unknown> {
    try {
      return this.#connection.run(this.#script, args, call);
    } catch (error) {
      return Promise.reject(error);
    }
  }
}

/** What goes into one call, in the order in which it was asked for. */
function* parts(all: readonly Pending[]): Generator<Pending[]> {
  let part: Pending[] = [];
  let counts = new Map<string, number>();
  for (const each of all) {
    const same = counts.get(each.key) ?? 0;
    if (part.length === MOST || same === CROWD) {
      yield part;
      part = [];
      counts = new Map();
    }
    part.push(each);
    counts.set(each.key, (counts.get(each.key) ?? 0) + 1);
  }
  if (part.length > 0) yield part;
}
