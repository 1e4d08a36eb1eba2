/**
 * Locks in Postgres 14 or later, through the package `postgres`, or the client that you have.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { postgres } from "@holdfast/lock/postgres";
 *
 * await using locks = new LockManager(postgres("postgres://app@127.0.0.1:5432/app"));
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * Claims are rows, in one queue for each key, and a release gives the lock to the next in the same statement. Whoever
 * waits is told by a notification. To acquire, to release and to renew are one round trip each.
 * {@linkcode guarded} does work in a transaction that commits only if the lock is held: more than a fencing token.
 *
 * ## Connections
 *
 * One for calls, opened by the first of them, and one for notifications, opened when somebody has to wait or watches;
 * that is all, whatever the number of locks. The server shows them as `holdfast` (`applicationName`). Several hosts of a
 * URL are tried in turn until one takes writes.
 *
 * A client of yours does as well, and stays open: what `postgres()` of the package `postgres` 3 returns, a `Pool` of
 * `pg` 8, Bun's `SQL`. Calls go through it, one statement at a time; notifications come by a connection of our own that
 * is made like those of the client (with Bun's `SQL`: like `listen` says). Renewals need a connection of the client too:
 * a pool of one that is lent out for longer than a ttl loses its locks.
 *
 * **PgBouncer** and other poolers that hand sessions on are fine for calls: there are no prepared statements, no
 * session settings and no session locks. Only notifications need a session of their own. Give `listen` the address of
 * the server itself. Without it the manager's `logger` is told once, whoever waits learns of its lock by its
 * renewals, within a third of its ttl, and `watch` is refused.
 *
 * ```ts
 * import { postgres } from "@holdfast/lock/postgres";
 *
 * postgres("postgres://app@pooler:6432/app", { listen: "postgres://app@db:5432/app" });
 * ```
 *
 * ## Schema and rights
 *
 * Tables and functions are in a schema of their own, `holdfast`. The first call makes it if it is not there. A user
 * who may not do that is refused; then an administrator runs what this prints, once:
 *
 * ```sh
 * deno run jsr:@holdfast/lock/postgres | psql app
 * ```
 *
 * All that other users need is the use of it; they cannot read or write the tables:
 *
 * ```sql
 * GRANT USAGE ON SCHEMA holdfast TO app;
 * ```
 *
 * The schema has a version. A process that finds another one than its own is refused, and says which of the two to
 * update.
 *
 * ## What it does not promise
 *
 * - **Replication.** With asynchronous replicas, one that is promoted may not know of the last locks, and grant them to
 *   others; the old holder learns at its next renewal. Until then only the token tells them apart, which rises even
 *   then unless the replica's clock is behind. With `synchronous_commit = remote_apply` and a synchronous standby a
 *   failover keeps all locks. A primary that is cut off, and goes on, gives locks as well: fence it.
 * - **Clocks.** Claims expire by the server's clock. If that jumps forward, locks end too early, which their holders
 *   see as a loss. Tokens rise whatever it does.
 * - **Notice of a theft**, to a holder that has never waited: it learns at its next renewal. So does who holds when
 *   somebody deletes rows by hand.
 * - **Speed beside a transaction that is open for hours**, such as a dump: Postgres can remove no old version of a row
 *   meanwhile, and each cycle of a lock leaves one. Without that, taking and giving back a lock leaves nothing; a
 *   hand-over leaves half a kilobyte until the next autovacuum, for which the tables ask early. A queue that nobody
 *   has used for a minute is forgotten, some time later, by whoever still uses others.
 * - **Reentrance.** Whoever holds a lock and asks for it again waits for itself.
 *
 * Deno needs `--allow-net` for the servers, and `--allow-sys` where the address names no user.
 *
 * @module
 */
import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../internal/backend.ts";
import { type PostgresBackendOptions, type PostgresTarget, route } from "./postgres/address.ts";
import { checkSchema, identifier } from "./postgres/client/literal.ts";
import { Observer } from "./postgres/observer.ts";
import { PostgresQueues } from "./postgres/queues.ts";
import { schemaSql } from "./postgres/scripts/schema.ts";
import { Store } from "./postgres/store.ts";
import { POSTGRES_TRAITS } from "./postgres/traits.ts";
import { QueueLease } from "./shared/queue_lease.ts";

export type { PostgresAddress, PostgresBackendOptions, PostgresTarget } from "./postgres/address.ts";
export type { BunSql, PgPool, PostgresClient, PostgresJsClient } from "./postgres/client/handed_in.ts";
export type { PostgresHost, PostgresOptions, PostgresTls, SslMode } from "./postgres/client/options.ts";
export {
  type BeginsTransactions,
  guarded,
  type GuardedOptions,
  type LendsConnections,
} from "./postgres/guarded.ts";

/**
 * Locks in Postgres. Nothing connects before the first call.
 *
 * @param target `postgres://user:password@host:5432/database`, options, a client, or a function that is asked for the
 * address at every (re)connection
 * @throws {TypeError | RangeError} If it is no address, or contradicts itself.
 */
export function postgres(target: PostgresTarget, options: PostgresBackendOptions = {}): Backend {
  return new PostgresBackend(target, options);
}

/**
 * The SQL that makes the schema, for whoever prefers to do that in a migration. It is one transaction, and may be run
 * again.
 *
 * @throws {TypeError | RangeError} If the name is none.
 */
export function postgresSchema(schema = "holdfast"): string {
  checkSchema(schema);
  return `BEGIN;${schemaSql(identifier(schema))}COMMIT;\n`;
}

class PostgresBackend implements Backend {
  readonly name = "postgres";
  readonly traits: Traits = POSTGRES_TRAITS;
  readonly #store: Store;
  readonly #observer: Observer;
  /** Tells the logger of whoever has opened a lease. */
  #warn: (message: string) => void = () => {};

  constructor(target: PostgresTarget, options: PostgresBackendOptions) {
    const to = route(target, options);
    const ear = { ...to, trusted: options.listen !== undefined };
    this.#store = new Store(to, ear, {
      memory: 60_000,
      warn: (message) => this.#warn(message),
      deaf: (error) => this.#observer.failed(error),
    });
    this.#observer = new Observer(this.#store);
  }

  /** Nothing is sent: a lease is a ttl. */
  async lease(request: LeaseRequest): Promise<Lease> {
    this.#warn = request.warn;
    return new QueueLease(request, (ears) => new PostgresQueues(this.#store, request, ears));
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    return this.#observer.list(scope, call);
  }

  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    return this.#observer.watch(key, watcher, call);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#store.close();
  }
}

// In a bundle `import.meta.main` says that the application was started.
if (import.meta.main && import.meta.url.endsWith("/backends/postgres.ts")) console.log(postgresSchema());
