import type { Call } from "../../internal/backend.ts";
import { Claims } from "./claims.ts";
import { fault, isBusy } from "./faults.ts";
import { LockFile } from "./file.ts";

/** What is done within a transaction, and what is to follow once it is committed. */
export interface Change {
  readonly claims: Claims;
  /** Done in this order after the commit, before anybody gets an answer. */
  readonly after: (() => void)[];
  /** Keys whose queue is no longer what it was. */
  readonly changed: Set<string>;
}

/** How a change is to be written. */
export interface WriteOptions {
  /**
   * Whether it must survive a power failure: true where an order number is handed out, which must
   * never be handed out again. What else is lost then was about processes that are lost as well.
   */
  readonly durable: boolean;
  /** Without one, it is tried until it succeeds. */
  readonly call?: Call;
}

interface Job extends WriteOptions {
  readonly run: (change: Change) => unknown;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/** At most so many changes share a transaction: a bound on how long the event loop stands still. */
const BATCH = 256;

/**
 * One connection to the lock file, opened when first needed. Changes are made in the order they were
 * asked for; those asked for in one turn of the event loop share a transaction, and one sync of the
 * disk. While another process writes, they wait without blocking the loop.
 */
export class Transactions {
  readonly #path: string;
  readonly #told: (keys: readonly string[], claims: Claims) => () => void;
  readonly #replaced: () => void;
  readonly #jobs: Job[] = [];
  #file: LockFile | undefined;
  #running = false;
  #ending = false;
  #durable: boolean | undefined;

  /**
   * `tell` looks up, within the transaction, who is to hear of changed queues, and returns how to tell
   * them. `replaced`: the file is no longer the one that everything was written to.
   */
  constructor(
    path: string,
    tell: (keys: readonly string[], claims: Claims) => () => void,
    replaced: () => void,
  ) {
    this.#path = path;
    this.#told = tell;
    this.#replaced = replaced;
  }

  /** Looks. Readers and a writer do not disturb each other; only opening and recovery do. */
  async read<T>(look: (claims: Claims) => T, call?: Call): Promise<T> {
    for (;;) {
      try {
        return look(new Claims(this.#open()));
      } catch (error) {
        if (!isBusy(error)) throw this.#failed(error);
      }
      await breath();
      call?.signal.throwIfAborted();
    }
  }

  /** Makes a change, or fails without a trace; after an error in the commit itself that is unknown. */
  write<T>(run: (change: Change) => T, options: WriteOptions): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push({ run, resolve: resolve as (answer: unknown) => void, reject, ...options });
      if (!this.#running) void this.#run();
    });
  }

  /** Closes the file, once what was asked for is done. A later call opens it again. */
  end(): void {
    if (this.#running) this.#ending = true;
    else this.#close();
  }

  #close(): void {
    const file = this.#file;
    this.#file = undefined;
    this.#durable = undefined;
    file?.database.close();
  }

  async #run(): Promise<void> {
    this.#running = true;
    // A turn of the microtask queue, for what else is asked at the same time.
    await undefined;
    while (this.#jobs.length > 0) {
      const batch = this.#jobs.slice(0, BATCH);
      try {
        const answers = this.#transact(batch);
        this.#jobs.splice(0, batch.length);
        batch.forEach(({ resolve }, index) => resolve(answers[index]));
      } catch (error) {
        if (isBusy(error)) {
          await breath();
          this.#dropAbandoned();
        } else {
          this.#jobs.splice(0, batch.length);
          const reason = this.#failed(error);
          for (const { reject } of batch) reject(reason);
        }
      }
    }
    this.#running = false;
    if (this.#ending) this.#close();
    this.#ending = false;
  }

  #transact(batch: readonly Job[]): unknown[] {
    const file = this.#open();
    const durable = batch.some((job) => job.durable);
    if (durable !== this.#durable) file.database.exec(`PRAGMA synchronous = ${durable ? "FULL" : "NORMAL"}`);
    this.#durable = durable;
    file.run("BEGIN IMMEDIATE");
    let answers: unknown[];
    let after: (() => void)[];
    try {
      const claims = new Claims(file);
      const change: Change = { claims, after: [], changed: new Set() };
      answers = batch.map(({ run }) => run(change));
      after = change.after;
      if (change.changed.size > 0) after.push(this.#told([...change.changed], claims));
      file.run("COMMIT");
    } catch (error) {
      if (file.database.isTransaction) file.run("ROLLBACK");
      throw error;
    }
    for (const follow of after) follow();
    return answers;
  }

  #dropAbandoned(): void {
    const kept = this.#jobs.splice(0).filter(({ call, reject }) => {
      if (call?.signal.aborted) reject(call.signal.reason);
      return !call?.signal.aborted;
    });
    this.#jobs.push(...kept);
  }

  /** The open file, if it is still the one at its path: a cleaner may have removed it under us. */
  #open(): LockFile {
    if (this.#file?.replaced) {
      this.#close();
      this.#replaced();
    }
    return this.#file ??= new LockFile(this.#path);
  }

  /** After an error the file is opened afresh, for somebody may have mended it. */
  #failed(error: unknown): Error {
    try {
      this.#close();
    } catch {
      // It was no good any more.
    }
    return fault(this.#path, error);
  }
}

/** Writers take turns within milliseconds; at random, so that two do not meet again and again. */
function breath(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0.5 + 2.5 * Math.random()));
}
