import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { refusal } from "./faults.ts";

/** Marks the file as ours: "hold" in ASCII. */
const APPLICATION = 0x686f6c64;
/** Of the tables. A file of another version is refused. */
const VERSION = 1;

/**
 * The queue of a key is one range of `claims`, in order of arrival; `seq` is the order number and the
 * fencing token, from a counter that never goes back. `stolen` tells victims what became of them,
 * `watchers` whom to tell of changes. `session` is the address of the process, see `peers.ts`.
 */
const TABLES = `
  CREATE TABLE counter (last INTEGER NOT NULL) STRICT;
  INSERT INTO counter VALUES (0);
  CREATE TABLE claims (
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    session TEXT NOT NULL,
    lease INTEGER NOT NULL,
    client TEXT NOT NULL,
    mode TEXT NOT NULL,
    "limit" REAL NOT NULL,
    ttl INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    metadata TEXT,
    PRIMARY KEY (key, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE stolen (id TEXT PRIMARY KEY, expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE watchers (key TEXT NOT NULL, session TEXT NOT NULL, PRIMARY KEY (key, session))
    STRICT, WITHOUT ROWID;
  PRAGMA application_id = ${APPLICATION};
  PRAGMA user_version = ${VERSION};
`;

/** What a statement answers. */
export type Result = Record<string, string | number | null>;

/** An open lock file. */
export class LockFile {
  readonly path: string;
  readonly database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #device: bigint;
  readonly #inode: bigint;

  /** Opens the file, and makes it if there is none. Anything that is not ours is left untouched. */
  constructor(path: string) {
    this.path = path;
    if (isMissing(path)) makeFolder(dirname(path));
    else peek(path);
    this.database = new DatabaseSync(path);
    try {
      // Calls are synchronous: longer waits for another writer are slept through, not sat out.
      this.database.exec("PRAGMA busy_timeout = 2");
      // The first statement that reads; also rolls back or recovers what a killed process left behind.
      if (isEmpty(this.database)) this.#create();
      check(path, this.database);
      const mode = this.database.prepare("PRAGMA journal_mode = WAL").get()!.journal_mode;
      if (mode !== "wal") {
        throw refusal(path, "its file system cannot share memory between processes. Use a local disk");
      }
      ({ dev: this.#device, ino: this.#inode } = statSync(path, { bigint: true }));
    } catch (error) {
      this.database.close();
      throw error;
    }
  }

  /** All rows. */
  all(sql: string, ...values: SQLInputValue[]): Result[] {
    return this.#prepared(sql).all(...values) as Result[];
  }

  /** The first row. */
  get(sql: string, ...values: SQLInputValue[]): Result | undefined {
    return this.#prepared(sql).get(...values) as Result | undefined;
  }

  /** How many rows were changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepared(sql).run(...values).changes);
  }

  /** Whether the path leads to another file by now: somebody removed or replaced this one. */
  get replaced(): boolean {
    const now = statSync(this.path, { bigint: true, throwIfNoEntry: false });
    return now?.ino !== this.#inode || now.dev !== this.#device;
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, statement = this.database.prepare(sql));
    return statement;
  }

  /** Not in WAL mode yet, so that the marks are in the file itself from the start. */
  #create(): void {
    this.database.exec("BEGIN IMMEDIATE");
    try {
      // Somebody else may have been faster.
      if (isEmpty(this.database)) this.database.exec(TABLES);
      this.database.exec("COMMIT");
    } catch (error) {
      if (this.database.isTransaction) this.database.exec("ROLLBACK");
      throw error;
    }
  }
}

/** Level by level: Node's own recursion never ends where a folder cannot be made, as below /proc. */
function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Somebody else may have been faster.
    if (statSync(path, { throwIfNoEntry: false }) === undefined) throw error;
  }
}

function isMissing(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory()) throw refusal(path, "it is a folder. Name a file");
  return found === undefined || found.size === 0;
}

/**
 * Looks at a file as if it could not be changed: without recovering, converting or creating anything
 * beside it, which would be wrong if it is not ours. Not by reading the bytes: to open and close a
 * file releases the locks that SQLite has on it elsewhere in this process.
 */
function peek(path: string): void {
  const immutable = pathToFileURL(path);
  immutable.search = "immutable=1";
  const database = new DatabaseSync(immutable, { readOnly: true });
  try {
    check(path, database);
  } catch (error) {
    // Whoever was writing it may have been killed, or not be done yet: for SQLite to sort out.
    if (!/malformed/.test((error as Error).message)) throw error;
  } finally {
    database.close();
  }
}

/** Throws if the database is not a lock file that we know how to use. */
function check(path: string, database: DatabaseSync): void {
  if (pragma(database, "application_id") !== APPLICATION) {
    throw refusal(
      path,
      "it is the database of another program; it has been left as it is. Name another path",
    );
  }
  const version = pragma(database, "user_version");
  if (version !== VERSION) {
    const made = `it was made by another version of Holdfast (format ${version}, this one reads ${VERSION})`;
    throw refusal(path, `${made}. Use the same version in all processes, or name another path`);
  }
}

function isEmpty(database: DatabaseSync): boolean {
  const { tables } = database.prepare("SELECT count(*) AS tables FROM sqlite_schema").get()!;
  return tables === 0 && pragma(database, "application_id") === 0 && pragma(database, "user_version") === 0;
}

function pragma(database: DatabaseSync, name: string): number {
  return database.prepare(`PRAGMA ${name}`).get()![name] as number;
}
