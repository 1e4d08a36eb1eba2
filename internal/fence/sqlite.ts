import type { SyncFence } from "./fence.ts";
import { FENCE_CHECK, fenceValues, refuseRow } from "./sql.ts";

/**
 * A database: `DatabaseSync` of `node:sqlite`, `Database` of `bun:sqlite`, or what is like them, as
 * `better-sqlite3` is.
 */
export interface SqliteDatabase {
  /** Prepares a statement. */
  prepare(sql: string): {
    /** Runs it, for its first row. */
    get(...values: string[]): unknown;
  };
}

/**
 * A fence in an SQLite database, whose table {@linkcode FENCE_TABLE} makes. Check inside the transaction of
 * the write: what is rolled back has not been written, and its token is not remembered either.
 *
 * ```ts
 * import { DatabaseSync } from "node:sqlite";
 * import { acquire } from "@holdfast/lock";
 * import { FENCE_TABLE, sqliteFence } from "@holdfast/lock/fence";
 *
 * const db = new DatabaseSync(":memory:");
 * db.exec(FENCE_TABLE);
 * db.exec("CREATE TABLE ledger (line TEXT)");
 * const fence = sqliteFence(db);
 *
 * await using lock = await acquire("ledger");
 * db.exec("BEGIN IMMEDIATE");
 * try {
 *   fence.checkSync(lock.key, lock.token);
 *   db.prepare("INSERT INTO ledger VALUES (?)").run("paid");
 *   db.exec("COMMIT");
 * } catch (error) {
 *   db.exec("ROLLBACK");
 *   throw error;
 * }
 * ```
 *
 * `checkSync` is the one to use: after an `await`, others who share the connection may be in the transaction.
 *
 * @throws {TypeError} if it is no such database
 */
export function sqliteFence(db: SqliteDatabase): SyncFence {
  if (typeof db?.prepare !== "function") {
    throw new TypeError("Expected a database of node:sqlite or bun:sqlite, or one like them");
  }
  const checkSync = (key: string, token: bigint): void => {
    const values = fenceValues(key, token);
    refuseRow(key, token, db.prepare(FENCE_CHECK).get(...values) as object | null | undefined);
  };
  return { checkSync, check: async (key, token) => checkSync(key, token) };
}
