import { LockLostError } from "../../internal/errors.ts";
import { claimsOf, type Granted, type Lock } from "../../internal/lock.ts";
import { checkKinds, isObject } from "../../internal/checks.ts";
import { decodeKey } from "../../internal/keys.ts";
import { refused } from "../shared/errors.ts";
import { checkSchema, identifier, literal } from "./client/literal.ts";
import { clientKind } from "./client/kind.ts";
import { codeOf } from "./client/errors.ts";
import { rowKey } from "./names.ts";

/** A client whose transactions are begun with a function: `postgres()` of the package `postgres`, `SQL` of Bun. */
export interface BeginsTransactions<Tx> {
  /** Runs the function in a transaction. */
  begin(options: string, work: (tx: Tx) => Promise<unknown>): Promise<unknown>;
}

/** A client that lends connections: a `Pool` of the package `pg`. */
export interface LendsConnections<Tx> {
  /** Lends one. */
  connect(lend: (error: Error | undefined, connection: Tx | undefined, done: () => void) => void): void;
}

/** Options of {@linkcode guarded}. */
export interface GuardedOptions {
  /**
   * Milliseconds that the work may take. Until then nobody else is given the lock, lost or not.
   *
   * @default {the ttl of the lock}
   */
  readonly timeout?: number;
  /** As of `postgres()`. @default {"holdfast"} */
  readonly schema?: string;
}

/** Milliseconds by which the server is more patient than this process, which says what has happened. */
const GRACE = 1_000;

/** Milliseconds: what the server's settings can say. */
const LONGEST = 2_000_000_000;

/** How often the question whether the lock is held is asked again that met a renewal. */
const TRIES = 5;

/**
 * Does work in a transaction of the database in which the lock is, and commits it only if the lock is held: nobody
 * else is given the lock before the transaction has ended. A release, a steal, an expiry wait for that. So what the
 * lock protects, and is in this database, is written by its holder or not at all, however long a process stops
 * between two lines.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { guarded, postgres } from "@holdfast/lock/postgres";
 * import client from "postgres";
 *
 * const url = "postgres://app@127.0.0.1:5432/app";
 * const sql = client(url);
 * await using locks = new LockManager(postgres(url));
 * await using lock = await locks.acquire("invoice:42");
 * await guarded(sql, lock, async (tx) => {
 *   await tx`UPDATE invoices SET paid = true WHERE id = 42`;
 * });
 * await sql.end();
 * ```
 *
 * @param sql What begins the transaction: `postgres()`, a `Pool` of `pg`, or Bun's `SQL`, to the same database
 * @param lock Of a manager over `postgres()`; of several keys, all of them are guarded
 * @param work Is given the transaction, as the client gives it
 * @throws {LockLostError} if the lock is not held when the transaction begins
 * @throws {DOMException} "TimeoutError" if that takes longer than `timeout`, the wait for a connection included: what was
 * done is rolled back
 * @throws {BackendError} if a statement of the work has failed, and the work went on: Postgres has rolled back
 */
export function guarded<Tx, R>(
  sql: BeginsTransactions<Tx>,
  lock: Lock,
  work: (tx: Tx) => Promise<R>,
  options?: GuardedOptions,
): Promise<R>;
/** The same with a `Pool` of the package `pg`: the work is given the connection that it lends. */
export function guarded<Tx, R>(
  sql: LendsConnections<Tx>,
  lock: Lock,
  work: (tx: Tx) => Promise<R>,
  options?: GuardedOptions,
): Promise<R>;
export async function guarded<R>(
  sql: object,
  lock: Lock,
  work: (tx: never) => Promise<R>,
  options: GuardedOptions = {},
): Promise<R> {
  checkKinds("guarded()", options, { timeout: ["number"], schema: ["string"] });
  const claims = granted(lock);
  const { timeout = lock.ttl, schema = "holdfast" } = options;
  checkSchema(schema);
  if (!(timeout >= 1 && timeout <= LONGEST)) {
    throw new RangeError(
      `Expected "timeout" of guarded() to be 1 to ${LONGEST} milliseconds, got ${timeout}`,
    );
  }
  const isClient = typeof sql === "function" || isObject(sql);
  const kind = isClient ? clientKind(sql) : undefined;
  if (kind === undefined) {
    throw new TypeError("Cannot begin a transaction: give postgres(), a Pool of pg, or Bun's SQL");
  }
  if (typeof work !== "function") {
    throw new TypeError(`Expected the work to be a function, got ${typeof work}`);
  }
  const transaction = kind === "pg" ? inPool(sql as Pool) : inBegin(sql as Begins);
  const question = ask(claims, identifier(schema), Math.ceil(timeout) + GRACE);
  const limit = new Limit(timeout);
  for (let time = 1;; time++) {
    lock.signal.throwIfAborted();
    let begun = false;
    try {
      return await limit.bound(transaction(async (tx, query) => {
        limit.check(); // a connection may have been free too late
        const answers = (await query(question))?.split(" ") ?? [];
        const lost = claims.findIndex((_, n) => answers[n] !== "held");
        if (lost >= 0) {
          throw new LockLostError(
            decodeKey(claims[lost]!.key),
            answers[lost] === "stolen" ? "stolen" : "revoked",
          );
        }
        begun = true;
        const result = await limit.bound(work(tx as never));
        limit.check();
        limit.end(); // from here on the outcome is the server's to say
        return result;
      }));
    } catch (error) {
      // Under `repeatable read`, a renewal that came between.
      if (!begun && codeOf(error) === "40001" && time < TRIES) continue;
      limit.end();
      throw error;
    }
  }
}

/** What takes longer is not waited for, and not committed. */
class Limit {
  readonly #late = Promise.withResolvers<never>();
  readonly #timer: ReturnType<typeof setTimeout>;
  #error: DOMException | undefined;

  constructor(ms: number) {
    this.#late.promise.catch(() => {});
    this.#timer = setTimeout(() => {
      this.#error = new DOMException(`The work under a lock took longer than ${ms} ms`, "TimeoutError");
      this.#late.reject(this.#error);
    }, ms);
  }

  bound<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#late.promise]);
  }

  check(): void {
    if (this.#error !== undefined) throw this.#error;
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

type Query = (text: string) => Promise<string | undefined>;
type InTransaction = <R>(work: (tx: unknown, query: Query) => Promise<R>) => Promise<R>;

/** Asked first thing in the transaction; what stops in the middle of that is ended by the server. */
function ask(claims: readonly Granted[], schema: string, limit: number): string {
  const held = claims.map(({ key, id, token }) =>
    `${schema}.guard(${literal(rowKey(key))}, ${token}, ${literal(id)})`
  );
  return "SET TRANSACTION READ WRITE;" +
    `SET LOCAL idle_in_transaction_session_timeout = ${limit}; SET LOCAL statement_timeout = ${limit};` +
    `SELECT ${held.join(" || ' ' || ")} AS held`;
}

function granted(lock: Lock): readonly Granted[] {
  try {
    return claimsOf(lock).toSorted((a, b) => a.key < b.key ? -1 : 1); // so that no two wait for each other
  } catch (cause) {
    throw new TypeError("Cannot work under this lock: give one of a LockManager over postgres()", { cause });
  }
}

interface Begins {
  begin(
    work: (tx: { unsafe(text: string): { simple(): Promise<unknown> } }) => Promise<unknown>,
  ): Promise<unknown>;
}

/**
 * The package `postgres` ends or rolls back whatever becomes of the connection, and throws where nobody can catch it if
 * that has ended: so it must not learn that the work is over then.
 */
function inBegin(sql: Begins): InTransaction {
  return (work) => {
    let ended = false;
    const begun = sql.begin((tx) => {
      const query: Query = async (text) => {
        const results = await tx.unsafe(text).simple() as { held?: string }[][];
        return Object.values(results.at(-1)?.[0] ?? {})[0];
      };
      const done = Promise.withResolvers<unknown>();
      work(tx, query).then(
        (result) => !ended && done.resolve(result),
        // The end of the connection may be what it has failed of, and is told a moment later.
        (error) => setTimeout(() => !ended && done.reject(error)),
      );
      return done.promise;
    });
    begun.catch(() => ended = true);
    return begun as Promise<never>;
  };
}

interface Pool {
  connect(): Promise<{
    query(text: string): Promise<unknown>;
    release(error?: Error | boolean): void;
    on(event: "error", listener: () => void): void;
    off(event: "error", listener: () => void): void;
  }>;
}

/** What is asked next tells that the connection has ended, too. */
const ignore = () => {};

function inPool(pool: Pool): InTransaction {
  return async (work) => {
    const client = await pool.connect();
    let broken = true;
    client.on("error", ignore);
    try {
      await client.query("BEGIN");
      try {
        const done = await work(client, async (text) => {
          const results = await client.query(text) as { rows: { held: string }[] }[];
          return Object.values(results.at(-1)?.rows[0] ?? {})[0];
        });
        const { command } = await client.query("COMMIT") as { command: string };
        if (command !== "COMMIT") {
          throw refused("commit", "a statement has failed before, so Postgres has rolled back", {
            retryable: false,
          });
        }
        broken = false;
        return done;
      } catch (error) {
        await client.query("ROLLBACK").then(() => broken = false, () => {});
        throw error;
      }
    } finally {
      client.off("error", ignore);
      client.release(broken);
    }
  };
}
