import {
  closeSync,
  join,
  openSync,
  randomBytes,
  readdirSync,
  statSync,
  unlinkSync,
  utimesSync,
} from "../client/builtin.ts";
import { type Database, openDatabase } from "../client/database.ts";
import { isBusy } from "../client/errors.ts";
import { inode } from "../client/inode.ts";
import type { Sharing } from "../client/sharing.ts";
import { removeSocket } from "./sockets.ts";

/** A session in the folder of sessions, as its file there tells. */
export interface Trace {
  /** Of its file. */
  readonly name: string;
  /** Which files it has open; see `lock_file.ts`. */
  readonly files: string;
  /** Wall clock, milliseconds: after that it holds nothing. */
  readonly until: number;
}

/**
 * The proof that a session lives: a small file of its own, which it keeps locked by an open transaction. The
 * kernel ends that lock with the process and not before, whatever the process does: computes, is stopped, has
 * no file descriptor left. So whoever can read the file knows that its owner is gone; "busy" means alive, and
 * every other answer means nothing and counts as alive.
 *
 * The name of the file tells which files the session has open, and its time of modification until when the
 * session may hold a lock. A session is named after both its file and the inode of that, lest an unlocked copy
 * be taken for it.
 *
 * A POSIX lock belongs to a process, not to a connection, and is gone when the process closes the locked file
 * anywhere. SQLite minds that; so here the file is never opened by other means.
 */
export class Life {
  /** Names the session in the lock file, and never another one. */
  readonly session: string;
  readonly #folder: string;
  readonly #path: string;
  readonly #database: Database;
  #until = 0;
  /** A file descriptor kept for looking at others when there is no other left. */
  #spare: number | undefined;

  /** Begins in a folder that exists. */
  constructor(folder: string, files: string, sharing: Sharing) {
    this.#folder = folder;
    for (let tries = 1;; tries++) {
      const name = `${randomBytes(8).toString("hex")}-${files}`;
      this.#path = join(folder, name);
      const database = openDatabase(this.#path, { readOnly: false });
      try {
        // Nothing is written; without a journal there is no second file either.
        database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
        // A process that looked before that may have found the file unlocked, and removed it.
        const found = inode(this.#path);
        if (found !== undefined) {
          utimesSync(this.#path, 0, 0); // holds nothing yet; and who may not say so has to know
          this.#database = database;
          this.session = `${name}-${found.toString(36)}`;
          break;
        }
        if (tries === TRIES) throw new Error(`${this.#path} is removed again and again`);
      } catch (error) {
        database.close();
        remove(this.#path);
        if (!isBusy(error) || tries === TRIES) throw error;
        continue;
      }
      database.close();
    }
    sharing.adopt(this.#path);
    this.#reserve();
  }

  /** Lets others know that it may hold a lock until then. Not at each time: for some longer at once. */
  holdsUntil(expires: number, ttl: number): void {
    if (expires <= this.#until) return;
    this.#until = expires + Math.max(1_000, ttl / 8);
    const seconds = Math.ceil(this.#until / 1_000) + 1;
    try {
      utimesSync(this.#path, seconds, seconds);
    } catch {
      // The file was removed: no other process can tell when this one ends, and nothing else is wrong.
    }
  }

  /** Whether a session is proven to have ended. `then` is done while that is certain. */
  isDead(session: string, then?: () => void): boolean {
    const end = session.lastIndexOf("-");
    const [path, expected] = [join(this.#folder, session.slice(0, end)), session.slice(end + 1)];
    if (session === this.session || inode(path)?.toString(36) !== expected) return false;
    return this.#isUnlocked(path, then) === true;
  }

  /** Whether the session of a trace has ended; `undefined`: that cannot be told. */
  isOver({ name }: Trace): boolean | undefined {
    const path = join(this.#folder, name);
    return path !== this.#path && this.#isUnlocked(path);
  }

  /** What is left of a session that has ended is removed, and names no session any more. */
  bury(session: string): void {
    this.isDead(session, () => {
      remove(join(this.#folder, session.slice(0, session.lastIndexOf("-"))));
      removeSocket(this.#folder, idOf(session));
    });
  }

  /** The sessions of this folder but this one, living or not. */
  *others(): Generator<Trace> {
    for (const name of readdirSync(this.#folder)) {
      const [, files] = /^[0-9a-f]{16}-(.*)$/.exec(name) ?? [];
      const path = join(this.#folder, name);
      if (files === undefined || path === this.#path) continue;
      const until = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
      if (until !== undefined) yield { name, files, until };
    }
  }

  /** The sessions of others that have ended without a word, as far as that can be proven. */
  ended(): string[] {
    return [...this.others()].filter((trace) => this.isOver(trace) === true).flatMap(({ name }) => {
      const found = inode(join(this.#folder, name));
      return found === undefined ? [] : `${name}-${found.toString(36)}`;
    });
  }

  /** Ends it; and leaves the proof of that, as the end of the process would, if claims may be left. */
  end({ leaveProof = false } = {}): void {
    this.#database.close();
    if (!leaveProof) remove(this.#path);
    if (this.#spare !== undefined) closeSync(this.#spare);
    this.#spare = undefined;
  }

  #isUnlocked(path: string, then?: () => void): boolean | undefined {
    const seen = look(path, then);
    if (seen !== undefined || this.#spare === undefined) return seen;
    closeSync(this.#spare);
    this.#spare = undefined;
    const again = look(path, then);
    this.#reserve();
    return again;
  }

  #reserve(): void {
    try {
      this.#spare = openSync(this.#folder, "r");
    } catch {
      // None left, or a system that does not open folders.
    }
  }
}

/** How often beginning is disturbed, by chance: a few times at most. */
const TRIES = 10;

/** The part of a session's name that is random. */
export function idOf(session: string): string {
  return session.slice(0, 16);
}

/** Whether the file is free of locks; `undefined`: that cannot be told. */
function look(path: string, then?: () => void): boolean | undefined {
  const before = inode(path);
  let database: Database | undefined;
  try {
    database = openDatabase(path, { readOnly: true });
    // To read takes a lock too, but one that those who look have side by side.
    database.exec("BEGIN; SELECT 1 FROM sqlite_schema");
    if (inode(path) !== before) return undefined;
    then?.();
    return true;
  } catch (error) {
    return isBusy(error) ? false : undefined;
  } finally {
    database?.close();
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another process has removed it.
  }
}
