import { checkInput, decodeToken, encodeName, encodeToken, refuseStale } from "./fence.ts";

/**
 * Makes the table of the SQL fences, unless it is there: run it once, best in a migration. Tokens are texts
 * of 40 digits, which any database compares right. Where texts are equal whatever their case, as on MySQL,
 * `name` is a `VARCHAR(1400) CHARACTER SET ascii COLLATE ascii_bin`.
 */
export const FENCE_TABLE: string =
  "CREATE TABLE IF NOT EXISTS holdfast_fence (name TEXT PRIMARY KEY, token CHAR(40) NOT NULL)";

/**
 * The check in SQL, as SQLite 3.35 and Postgres understand it; where parameters have numbers, write `$1` and
 * `$2`. It remembers the greater of two tokens and returns it: the token given is stale if the one returned
 * is greater. Run it in the transaction of the write, with what {@linkcode fenceValues} makes of key and
 * token, and roll back if {@linkcode refuseRow} throws.
 *
 * Where a database has other words for it (`MERGE`, `ON DUPLICATE KEY UPDATE`), three things matter: the row
 * is locked until the transaction ends, also if the token is refused; a first row that two transactions
 * insert makes one of them wait or fail; and the token is read back in the same transaction.
 */
export const FENCE_CHECK: string = `INSERT INTO holdfast_fence (name, token) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET token = CASE
  WHEN excluded.token > holdfast_fence.token THEN excluded.token
  ELSE holdfast_fence.token
END
RETURNING token`;

/**
 * The parameters of {@linkcode FENCE_CHECK}: the name of the key, in printable ASCII with no two keys alike,
 * and the token in 40 digits.
 *
 * @throws {TypeError | RangeError} as {@linkcode Fence.check} does
 */
export function fenceValues(key: string, token: bigint): [name: string, token: string] {
  checkInput(key, token);
  return [encodeName(key), encodeToken(token)];
}

/**
 * Reads the row that {@linkcode FENCE_CHECK} returned.
 *
 * @param row Its one column by whatever name: `{ token: "00..." }`
 * @throws {StaleTokenError} if a later holder was here before
 */
export function refuseRow(key: string, token: bigint, row: object | null | undefined): void {
  refuseStale(key, token, decodeToken(Object.values(row ?? {})[0]));
}
