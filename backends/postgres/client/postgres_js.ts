import type { Buffer } from "node:buffer";
import type { Row } from "./link.ts";

/** A query of the package `postgres`, or of Bun's `SQL`, which has taken over its ways. */
export interface Query extends Promise<unknown> {
  simple(): Query;
  raw(): Query;
  /** Of the package: `null` if it has not been handed to a connection. */
  readonly state?: unknown;
}

/** A client of that kind. */
export interface Asked {
  unsafe(text: string): unknown;
}

/** Sends statements as they are, in one message, for rows of bytes, whatever the client's parsers are. */
export function ask(sql: Asked, text: string): Query {
  return (sql.unsafe(text) as Query).simple().raw();
}

/** The rows of the last statement: there is a result, or an array of them. */
export function rowsOf(answer: unknown): Row[] {
  const results = answer as readonly unknown[];
  const last = "command" in results ? results : results.at(-1) ?? [];
  return (last as (Buffer | null)[][]).map((row) => row.map((cell) => cell === null ? null : `${cell}`));
}
