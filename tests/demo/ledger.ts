import { DatabaseSync } from "node:sqlite";
import { FENCE_TABLE, sqliteFence, StaleTokenError, type SyncFence } from "../../fence.ts";

/** One line of the ledger. */
export interface Line {
  readonly token: bigint;
  readonly writer: string;
}

/**
 * The resource that the lock protects, and the other half of the protection: it refuses a token
 * smaller than the greatest one it has seen, in the same transaction as the write.
 */
export class Ledger implements Disposable {
  readonly #db: DatabaseSync;
  readonly #fence: SyncFence;

  constructor(path: string) {
    this.#db = new DatabaseSync(path);
    this.#db.exec(`
      PRAGMA busy_timeout = 2000;
      PRAGMA journal_mode = WAL;
      CREATE TABLE IF NOT EXISTS ledger (line INTEGER PRIMARY KEY, token TEXT NOT NULL, writer TEXT NOT NULL);
      ${FENCE_TABLE};
    `);
    this.#fence = sqliteFence(this.#db);
  }

  /** Appends a line, or says with which token it was refused. */
  append(token: bigint, writer: string): { refusedBy?: bigint } {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      this.#fence.checkSync("ledger", token);
      this.#db.prepare("INSERT INTO ledger (token, writer) VALUES (?, ?)").run(String(token), writer);
      this.#db.exec("COMMIT");
      return {};
    } catch (error) {
      this.#db.exec("ROLLBACK");
      if (error instanceof StaleTokenError) return { refusedBy: error.seen };
      throw error;
    }
  }

  /** Whether somebody is in the middle of a write, and stays there. */
  get busy(): boolean {
    try {
      this.#db.exec("BEGIN IMMEDIATE; ROLLBACK");
      return false;
    } catch {
      return true;
    }
  }

  /** All lines, in order. */
  lines(): Line[] {
    const rows = this.#db.prepare("SELECT token, writer FROM ledger ORDER BY line").all();
    return rows.map((row) => ({ token: BigInt(row.token as string), writer: row.writer as string }));
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}
