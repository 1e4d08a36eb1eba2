import { BackendError } from "../../../internal/errors.ts";
import { process } from "./builtin.ts";

/** A value that a statement takes. */
export type Value = string | number | null;
/** A row that it answers. */
export type Result = Record<string, Value>;

/** What the SQLite modules of all runtimes have in common. */
export interface Statement {
  all(...values: Value[]): unknown[];
  get(...values: Value[]): unknown;
  run(...values: Value[]): { readonly changes: number | bigint };
  /** Bun's: a statement stays open until the garbage collector finds it otherwise. */
  finalize?(): void;
}

/** A connection. The garbage collector closes what is not referred to any more. */
export interface Database {
  exec(sql: string): unknown;
  prepare(sql: string): Statement;
  close(): void;
}

type Constructor = new (path: string, options: Record<string, boolean>) => Database;

/**
 * Opens a file with the SQLite of the runtime: `bun:sqlite` on Bun, whose oldest versions have no
 * `node:sqlite`, and `node:sqlite` elsewhere. One kind in all of a process: two copies of SQLite would undo
 * each other's locks. Nothing is waited for: a busy file is an error.
 */
export function openDatabase(path: string, { readOnly }: { readOnly: boolean }): Database {
  const name = "Bun" in globalThis ? "bun:sqlite" : "node:sqlite";
  // Not imported: what is missing would be a riddle at the start of the program then.
  const module = process.getBuiltinModule?.(name) as Record<string, Constructor> | undefined;
  const Opened = module?.Database ?? module?.DatabaseSync;
  if (Opened === undefined) throw tooOld(`has no ${name}`);
  const database = opened(Opened, path, (readOnly ? READS : WRITES)[name]!);
  try {
    database.exec("PRAGMA busy_timeout = 0"); // on Deno it would be 5 s
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

function opened(Opened: Constructor, path: string, options: Record<string, boolean>): Database {
  try {
    return new Opened(path, options);
  } catch (error) {
    if (error instanceof TypeError) throw tooOld("opens no file like this", error); // Deno 2.2
    throw error;
  }
}

function tooOld(what: string, cause?: unknown): BackendError {
  return new BackendError(
    `Cannot use SQLite: this runtime ${what}. It takes Deno 2.7, Bun 1.3 or Node 24, or later`,
    { retryable: false, ...(cause !== undefined && { cause }) },
  );
}

const READS: Record<string, Record<string, boolean>> = {
  "bun:sqlite": { readonly: true },
  "node:sqlite": { readOnly: true },
};
const WRITES: Record<string, Record<string, boolean>> = {
  "bun:sqlite": { readwrite: true, create: true },
  "node:sqlite": {},
};
