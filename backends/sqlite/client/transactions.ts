import type { Call } from "../../../internal/backend.ts";
import { fault, isBroken, isBusy, isForbidden, unsent, Unsettled } from "./errors.ts";
import type { DatabaseFile } from "./file.ts";
import { isShared } from "./sharing.ts";

/** What is done within a transaction, and what is to follow once it is committed. */
export interface Change<Tables> {
  readonly tables: Tables;
  /** Done in this order after the commit, before anybody gets an answer. */
  readonly after: (() => void)[];
}

/** How a change is to be written. */
export interface WriteOptions {
  /**
   * Whether it must survive a power failure: true where a number is handed out that must never be handed out
   * again. What else is lost then was about processes that are lost as well.
   */
  readonly durable: boolean;
  /** Without one, the change is tried until it succeeds. */
  readonly call?: Call;
}

/** What there is in the file, and who has it open. */
export interface Content<File extends DatabaseFile, Tables> {
  /** Opens the file. */
  open(path: string): File;
  /** What is in it, as of now. */
  tables(file: File): Tables;
  /** The last thing done within a transaction. */
  committing(change: Change<Tables>): void;
  /** The file is no longer the one that everything was written to, or cannot be used any more for a `failure`. */
  replaced(failure?: unknown): void;
}

interface Job<Tables> extends WriteOptions {
  /** When the change was asked for, by the monotonic clock. */
  readonly since: number;
  readonly run: (change: Change<Tables>) => unknown;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Milliseconds: in a shared folder SQLite makes each of its files with the rights that the umask of its maker
 * leaves, and only a moment later gives others theirs.
 */
const SETTLES = 2_000;

/** At most so many changes share a transaction: a bound on how long the event loop stands still. */
const BATCH = 256;

/**
 * One connection to the file, opened when first needed. Changes are made in the order they were
 * asked for; those asked for in one turn of the event loop share a transaction, and one sync of the
 * disk. While another process writes, they wait without blocking the loop.
 */
export class Transactions<File extends DatabaseFile, Tables> {
  readonly #path: string;
  readonly #content: Content<File, Tables>;
  readonly #jobs: Job<Tables>[] = [];
  #file: File | undefined;
  /** Since when it cannot be opened, by the monotonic clock. */
  #refused: number | undefined;
  #running = false;
  #ending = false;
  /** How often the file was closed for good. */
  #ended = 0;
  #durable: boolean | undefined;

  constructor(path: string, content: Content<File, Tables>) {
    this.#path = path;
    this.#content = content;
  }

  /** Looks. Readers and a writer do not disturb each other; only opening and recovery do. */
  async read<T>(look: (tables: Tables) => T, call?: Call): Promise<T> {
    for (const [since, ended] = [performance.now(), this.#ended];;) {
      try {
        if (ended !== this.#ended) throw new Error("it was closed meanwhile");
        const file = this.#open();
        const found = look(this.#content.tables(file));
        // Of another file by now, perhaps.
        if (!this.#isReplaced(file)) return found;
      } catch (error) {
        if (!isBusy(error)) throw this.#failed(error);
        await breath();
      }
      call?.signal.throwIfAborted();
      if (this.#isTooLate(since, call)) throw keptBusy(this.#path);
    }
  }

  /** The version of the open file; `undefined` if none is open, or no longer the one at the path. Opens none. */
  peek(): number | undefined {
    const file = this.#file;
    if (file === undefined || this.#isReplaced(file)) return undefined;
    try {
      return file.version;
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  /** Makes a change, or fails without a trace; after an error in the commit itself that is unknown. */
  write<T>(run: (change: Change<Tables>) => T, options: WriteOptions): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const since = performance.now();
      this.#jobs.push({ run, since, resolve: resolve as (answer: unknown) => void, reject, ...options });
      if (!this.#running) void this.#run();
    });
  }

  /** Closes the file, once what was asked for is done. A later call opens it again. */
  end(): void {
    this.#ended++;
    if (this.#running) this.#ending = true;
    else this.#close();
  }

  #close(how?: { readonly abandoned: boolean }): void {
    const file = this.#file;
    this.#file = undefined;
    this.#durable = undefined;
    file?.close(how);
  }

  async #run(): Promise<void> {
    this.#running = true;
    // A turn of the microtask queue, for what else is asked at the same time.
    await undefined;
    while (this.#jobs.length > 0) {
      const batch = this.#jobs.slice(0, BATCH);
      try {
        const answers = this.#transact(batch);
        if (answers === undefined) continue; // in another file now
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

  /** `undefined`: done in a file that is not the one at the path any more. */
  #transact(batch: readonly Job<Tables>[]): unknown[] | undefined {
    const file = this.#open();
    const durable = batch.some((job) => job.durable);
    if (durable !== this.#durable) file.exec(`PRAGMA synchronous = ${durable ? "FULL" : "NORMAL"}`);
    this.#durable = durable;
    file.run("BEGIN IMMEDIATE");
    let answers: unknown[];
    const after: (() => void)[] = [];
    try {
      const change: Change<Tables> = { tables: this.#content.tables(file), after };
      answers = batch.map(({ run }) => run(change));
      this.#content.committing(change);
      file.run("COMMIT");
      file.commits++;
    } catch (error) {
      file.rollback();
      throw error;
    }
    if (this.#isReplaced(file)) return undefined;
    for (const follow of after) follow();
    return answers;
  }

  #dropAbandoned(): void {
    const kept = this.#jobs.splice(0).filter(({ call, since, reject }) => {
      if (call?.signal.aborted) reject(unsent(this.#path, messageOf(call.signal.reason), call.signal.reason));
      else if (this.#isTooLate(since, call)) reject(keptBusy(this.#path));
      else return true;
      return false;
    });
    this.#jobs.push(...kept);
  }

  /** Whether the caller is about to give up: time to say why. */
  #isTooLate(since: number, call: Call | undefined): boolean {
    return call !== undefined && performance.now() - since > 0.9 * call.timeout;
  }

  #open(): File {
    if (this.#file !== undefined) return this.#file;
    try {
      this.#file = this.#content.open(this.#path);
    } catch (error) {
      const since = this.#refused ??= performance.now();
      if (performance.now() - since < SETTLES && isShared(this.#path) && isForbidden(error)) {
        throw new Unsettled(`${this.#path} is being made`);
      }
      this.#refused = undefined;
      throw error;
    }
    this.#refused = undefined;
    return this.#file;
  }

  /** Looks after the fact whether the file is still the one at the path, see `file.ts`; if not, it is closed. */
  #isReplaced(file: File): boolean {
    if (!file.replaced) return false;
    this.#leave(file);
    return true;
  }

  #leave(file: File, failure?: unknown): void {
    if (file !== this.#file) return;
    this.#content.replaced(failure); // whoever relies on something in it hears of that first
    this.#close({ abandoned: true });
  }

  /**
   * A connection that can no longer read keeps others from mending the file: SQLite begins anew with `-shm` once
   * no process has it open. What was written in it can be proven no more.
   */
  #failed(error: unknown): Error {
    const file = this.#file;
    if (file !== undefined && !this.#isReplaced(file) && isBroken(error)) this.#leave(file, error);
    return fault(this.#path, error);
  }
}

function keptBusy(path: string): Error {
  return unsent(path, "somebody else keeps it locked. Look for a program that has a transaction open in it");
}

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

/** Writers take turns within milliseconds; at random, so that two do not meet again and again. */
function breath(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0.5 + 2.5 * Math.random()));
}
