import { dirname, realpathSync, statSync, unlinkSync } from "./builtin.ts";
import { type Database, openDatabase, type Result, type Statement, type Value } from "./database.ts";
import { fault, isBusy, refusal, Unsettled } from "./faults.ts";
import { inode } from "./inode.ts";
import { Life } from "./life.ts";
import { makeFile, makeFolder, Sharing } from "./sharing.ts";

/** Marks the file as ours: "hold" in ASCII. */
const APPLICATION = 0x686f6c64;
/** Of the tables. A file of another version is refused. */
const VERSION = 1;

/**
 * The queue of a key is one range of `claims`, in order of arrival; `seq` is the order number and the
 * fencing token, from a counter that never goes back. `stolen` tells victims what became of them,
 * `watchers` whom to tell of changes. `session` names the session of a process, see `life.ts`.
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

/**
 * An open lock file, and the session of whoever has it open.
 *
 * It is three files: what was committed last is in `-wal` alone, and `-shm` is where those who have it open
 * meet. Who opens it after one of the three was removed under others is alone in another world: finds a free
 * lock that is held, and gives out its token again. So each session says in the folder of sessions which three
 * it has open, and until when it may hold something. Who opens other ones waits for that; and who has them open
 * looks after each change whether they are still the ones under that path, before it believes the answer.
 */
export class LockFile {
  /** Without symbolic links. */
  readonly path: string;
  /** The folder of sessions, see `life.ts`. */
  readonly sessions: string;
  readonly life: Life;
  readonly sharing: Sharing;
  /** How often this connection has changed something, which SQLite's own count leaves out. */
  commits = 0;
  readonly #name: string;
  readonly #database: Database;
  readonly #statements = new Map<string, Statement>();
  readonly #files: string;

  /** Opens the file, and makes it if there is none. Anything that is not ours is left untouched. */
  constructor(path: string) {
    this.#name = path;
    const isNew = isMissing(path);
    if (isNew) makeFile(path);
    const [, walBefore, shmBefore] = filesAt(path, realPath(path)).split("-");
    const before = named(path);
    this.#database = openDatabase(path, { readOnly: false });
    let life: Life | undefined;
    try {
      const opened = named(path);
      // SQLite follows symbolic links, so its other files are beside what they lead to; and so is the folder.
      this.path = realpathSync(path);
      this.sessions = `${this.path}-peers`;
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
      this.#pragma("user_version"); // not before somebody reads, the other files are there
      if (this.sharing.shared) this.#tryWriting();
      this.#files = filesAt(path, this.path);
      const [database, wal, shm] = this.#files.split("-");
      // What is at the path by now need not be what was opened.
      const isSame = (now: string | undefined, then: string | undefined) => then === NONE || now === then;
      if (
        database !== opened || !isSame(opened, before) || !isSame(wal, walBefore) || !isSame(shm, shmBefore)
      ) {
        throw new Unsettled(`${path} was replaced while it was being opened`);
      }
      life = this.#begin();
      this.life = life;
      this.#meetOthers();
    } catch (error) {
      life?.end();
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

  /** Whether the path leads to other files by now: somebody removed or replaced one of them. */
  get replaced(): boolean {
    return filesAt(this.#name, this.path) !== this.#files;
  }

  /**
   * Ends the session, too. What it holds is to be given up before; `leavesClaims`: without that it was removed
   * from the file, so that others need the proof that it is nobody's.
   */
  close({ leavesClaims = this.replaced } = {}): void {
    // Who leaves alone takes `-wal` and `-shm` along: a newcomer must not take it for one who has lost them. But
    // one who has is waited for until the end.
    if (!leavesClaims) this.life.end();
    this.#close();
    if (leavesClaims) this.life.end({ leaveProof: true });
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
      // Somebody else may have been faster.
      if (this.#isEmpty()) this.exec(TABLES);
      this.exec("COMMIT");
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  /** Does nothing if there is nothing to roll back. */
  rollback(): void {
    try {
      this.exec("ROLLBACK");
    } catch {
      // SQLite has done so.
    }
  }

  /** Throws if the database is not a lock file that we know how to use. Only reads, as it may be anybody's. */
  #check(): void {
    if (this.#pragma("application_id") !== APPLICATION) {
      const what = "it is the database of another program; it has been left as it is. Name another path";
      throw refusal(this.#name, what);
    }
    const version = this.#pragma("user_version");
    if (version !== VERSION) {
      const made =
        `it was made by another version of Holdfast (format ${version}, this one reads ${VERSION})`;
      throw refusal(this.#name, `${made}. Use the same version in all processes, or name another path`);
    }
  }

  /** SQLite opens what it may not write for reading alone, for good: a file whose maker is just giving others rights. */
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

  #begin(): Life {
    try {
      if (inode(this.sessions) === undefined) makeFolder(this.sessions);
      return new Life(this.sessions, this.#files, this.sharing);
    } catch (error) {
      throw isBusy(error) ? error : fault(this.#name, error, this.sessions);
    }
  }

  /**
   * Throws if a session may hold locks in files that are no longer those under this path. One that holds none
   * any more, but has this very database open with another `-wal`, would spoil it at its end: for that the lock
   * file begins anew.
   */
  #meetOthers(): void {
    const database = databaseOf(this.#files);
    let spoilt = false;
    for (const other of this.life.others()) {
      if (other.files === this.#files) continue;
      const holds = other.until > Date.now();
      if (!holds && databaseOf(other.files) !== database) continue;
      const isOver = this.life.isOver(other);
      if (holds && isOver !== true) {
        const what = "it, its -wal or its -shm was removed or replaced while another process had it open";
        const advice = "That process may still hold locks: this one goes on when they have ended";
        throw refusal(this.#name, `${what}. ${advice}`, { retryable: true });
      }
      if (isOver === false) spoilt = true;
    }
    if (!spoilt && !this.replaced) return;
    if (spoilt && databaseOf(filesAt(this.#name, this.path)) === database) {
      for (const end of ["", "-wal", "-shm"]) removeFile(this.path + end);
    }
    throw new Unsettled(`${this.path} was replaced while it was being opened`);
  }
}

/** Which files make up a lock file, by their inodes: the one that the name leads to, and those beside it. */
function filesAt(name: string, path: string): string {
  return `${named(name)}-${named(`${path}-wal`)}-${named(`${path}-shm`)}`;
}

/** Of a file that is not there. */
const NONE = "0";

function named(path: string): string {
  return inode(path)?.toString(36) ?? NONE;
}

function databaseOf(files: string): string {
  return files.slice(0, files.indexOf("-"));
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody else has removed it.
  }
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
