import { dirname, realpathSync, statSync } from "./builtin.ts";
import { type Database, openDatabase, type Result, type Statement, type Value } from "./database.ts";
import { refusal, Unsettled } from "./errors.ts";
import { inode } from "./inode.ts";
import { makeFile, Sharing } from "./sharing.ts";

/** What the file is a database of. */
export interface Format {
  /** SQLite's `application_id`: marks the file as ours. */
  readonly application: number;
  /** SQLite's `user_version`, of the tables. A file of another version is refused. */
  readonly version: number;
  /** The statements that make the tables, the last one with its semicolon. */
  readonly tables: string;
}

/**
 * An open database file that processes share.
 *
 * A database is three files: what was committed last is in `-wal` alone, and `-shm` is where those who have it open
 * meet. Who opens it after one of the three was removed under others is alone in another world, which knows
 * nothing of what they have written. So who has the file open looks after each change, before believing the
 * answer, whether the three are still those under its path.
 */
export class DatabaseFile {
  /** As it was named. */
  readonly name: string;
  /** Without symbolic links. */
  readonly path: string;
  /** Who else may use it. */
  readonly sharing: Sharing;
  /** Which three files are open, by their inodes. */
  readonly files: string;
  /** How often this connection has changed something, which SQLite's own count leaves out. */
  commits = 0;
  readonly #format: Format;
  readonly #database: Database;
  readonly #statements = new Map<string, Statement>();

  /** Opens the file, and makes it if there is none. Anything that is not ours is left untouched. */
  constructor(path: string, format: Format) {
    this.name = path;
    this.#format = format;
    const isNew = isMissing(path);
    if (isNew) makeFile(path);
    const [, walBefore, shmBefore] = filesAt(path, realPath(path)).split("-");
    const before = named(path);
    this.#database = openDatabase(path, { readOnly: false });
    try {
      const opened = named(path);
      // SQLite follows symbolic links, so its other files are beside what they lead to.
      this.path = realpathSync(path);
      this.sharing = new Sharing(dirname(this.path));
      if (isNew) this.sharing.adopt(this.path);
      // Calls are synchronous: longer waits for another writer are slept through, not sat out.
      this.exec("PRAGMA busy_timeout = 2");
      // The first statement that reads; also rolls back or recovers what a killed process left behind.
      if (this.#isEmpty()) this.#create();
      this.#check();
      if (this.get("PRAGMA journal_mode = WAL")!.journal_mode !== "wal") {
        throw refusal(path, "its file system cannot share memory between processes. Use a local disk");
      }
      this.#pragma("user_version"); // the other files are there once something has been read
      if (this.sharing.shared) this.#tryWriting();
      this.files = this.filesNow;
      const [database, wal, shm] = this.files.split("-");
      // What is at the path by now need not be what was opened.
      const isSame = (now: string | undefined, then: string | undefined) => then === NONE || now === then;
      if (
        database !== opened || !isSame(opened, before) || !isSame(wal, walBefore) || !isSame(shm, shmBefore)
      ) {
        throw new Unsettled(`${path} was replaced while it was being opened`);
      }
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /** All rows. */
  all(sql: string, ...values: Value[]): Result[] {
    return this.#prepared(sql).all(...values) as Result[];
  }

  /** The first row. */
  get(sql: string, ...values: Value[]): Result | undefined {
    return (this.#prepared(sql).get(...values) ?? undefined) as Result | undefined;
  }

  /** How many rows were changed. */
  run(sql: string, ...values: Value[]): number {
    return Number(this.#prepared(sql).run(...values).changes);
  }

  /** A statement that answers nothing. */
  exec(sql: string): void {
    this.#database.exec(sql);
  }

  /** Another number whenever something has been changed, by whichever process. */
  get version(): number {
    return this.commits + (this.get("PRAGMA data_version")!.data_version as number);
  }

  /** Which three files the path leads to by now. */
  get filesNow(): string {
    return filesAt(this.name, this.path);
  }

  /** Whether the path leads to other files by now: one of them was removed or replaced. */
  get replaced(): boolean {
    return this.filesNow !== this.files;
  }

  /** `abandoned`: what this process has written stays as it is, for others to look after. */
  close(_how?: { readonly abandoned?: boolean }): void {
    this.#close();
  }

  #close(): void {
    for (const statement of this.#statements.values()) statement.finalize?.();
    this.#statements.clear();
    this.#database.close();
  }

  #prepared(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, statement = this.#database.prepare(sql));
    return statement;
  }

  /** Not in WAL mode yet, so that the marks are in the file itself from the start. */
  #create(): void {
    this.exec("BEGIN IMMEDIATE");
    try {
      // Another process may have been faster.
      if (this.#isEmpty()) this.exec(this.#tables());
      this.exec("COMMIT");
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  /** The file is marked as ours in the same transaction. */
  #tables(): string {
    const { tables, application, version } = this.#format;
    return `${tables} PRAGMA application_id = ${application}; PRAGMA user_version = ${version}`;
  }

  /** Does nothing if there is nothing to roll back. */
  rollback(): void {
    try {
      this.exec("ROLLBACK");
    } catch {
      // SQLite has done so.
    }
  }

  /** Throws if the database is not of this format. Only reads, as it may be anybody's. */
  #check(): void {
    const { application, version: ours } = this.#format;
    if (this.#pragma("application_id") !== application) {
      const what = "it is the database of another program; it has been left as it is. Name another path";
      throw refusal(this.name, what);
    }
    const version = this.#pragma("user_version");
    if (version !== ours) {
      const made = `it was made by another version of Holdfast (format ${version}, this one reads ${ours})`;
      throw refusal(this.name, `${made}. Use the same version in all processes, or name another path`);
    }
  }

  /**
   * SQLite opens what it may not write for reading alone, for good: a file whose maker is just giving others rights.
   */
  #tryWriting(): void {
    this.exec("BEGIN IMMEDIATE");
    this.exec("ROLLBACK");
  }

  #isEmpty(): boolean {
    const { tables } = this.get("SELECT count(*) AS tables FROM sqlite_schema")!;
    return tables === 0 && this.#pragma("application_id") === 0 && this.#pragma("user_version") === 0;
  }

  #pragma(name: string): number {
    return this.get(`PRAGMA ${name}`)![name] as number;
  }
}

/** By their inodes: the one that the name leads to, and those beside what it leads to. */
function filesAt(name: string, path: string): string {
  return `${named(name)}-${named(`${path}-wal`)}-${named(`${path}-shm`)}`;
}

/** Of a file that is not there. */
const NONE = "0";

function named(path: string): string {
  return inode(path)?.toString(36) ?? NONE;
}

/** The first of the three. */
export function databaseOf(files: string): string {
  return files.slice(0, files.indexOf("-"));
}

/** Without symbolic links, if it is there. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function isMissing(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) throw refusal(path, "it is a folder. Name a file");
  return found === undefined || found.size === 0;
}
