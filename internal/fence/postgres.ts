import type { Fence } from "./fence.ts";
import { FENCE_CHECK, fenceValues, refuseRow } from "./sql.ts";

/** The transaction that `begin` gives, of `postgres()` of the package `postgres` or of Bun's `SQL`. */
export interface PostgresSql {
  /** Runs a statement. */
  unsafe(text: string, values: string[]): PromiseLike<unknown>;
}

/** A `Client` of the package `pg` that has begun a transaction, such as one that a `Pool` lends. */
export interface PostgresQueries {
  /** Runs a statement. */
  query(text: string, values: string[]): PromiseLike<unknown>;
}

/** The statement, with the parameters that Postgres has. */
const CHECK = FENCE_CHECK.replace("(?, ?)", "($1, $2)");

/**
 * A fence in a Postgres database, whose table {@linkcode FENCE_TABLE} makes. Give it the transaction of the
 * write: what is rolled back has not been written, and its token is not remembered either.
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { FENCE_TABLE, postgresFence } from "@holdfast/lock/fence";
 * import postgres from "postgres";
 *
 * const sql = postgres("postgres://app@127.0.0.1:5432/app", { onnotice() {} });
 * await sql.unsafe(FENCE_TABLE);
 * await using lock = await acquire("invoice:42");
 * await sql.begin(async (tx) => {
 *   await postgresFence(tx).check(lock.key, lock.token);
 *   await tx`UPDATE invoices SET paid = true WHERE id = 42`;
 * });
 * await sql.end();
 * ```
 *
 * Let the `StaleTokenError` end the transaction: Postgres knows of no error, and would commit what came
 * before. The row of the key is locked until then, so that a later holder waits for one who is writing: have
 * `idle_in_transaction_session_timeout` end those who stop there. Above the isolation level "read committed",
 * one of two who meet is refused with SQLSTATE 40001, as always there, and begins again.
 *
 * Given a client or a pool instead, the check is a transaction of its own: a later holder may come between it
 * and the write.
 *
 * @throws {TypeError} if it is none of these
 */
export function postgresFence(sql: PostgresSql | PostgresQueries): Fence {
  const run = runner(sql);
  return {
    async check(key, token) {
      refuseRow(key, token, (await run(CHECK, fenceValues(key, token)))[0]);
    },
  };
}

type Run = (text: string, values: string[]) => Promise<readonly object[]>;

function runner(sql: Partial<PostgresSql & PostgresQueries>): Run {
  if (typeof sql?.unsafe === "function") {
    return async (text, values) => await sql.unsafe!(text, values) as object[];
  }
  if (typeof sql?.query === "function") {
    return async (text, values) => (await sql.query!(text, values) as { rows: object[] }).rows;
  }
  throw new TypeError("Expected a transaction of postgres() or of Bun's SQL, or a client or pool of pg");
}
