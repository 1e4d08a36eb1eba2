/**
 * Locks in a local SQLite file, shared by every process that opens it, on any runtime. Needs no server.
 *
 * What it does not promise:
 * - anything beyond one machine: SQLite's own locks do not work across a network file system, nor
 *   between a virtual machine and its host;
 * - independence of the wall clock: expiry is a wall time, the only one that processes share. A clock
 *   set forward ends locks early, and their holders see that as a loss; one set back makes those of
 *   killed processes last longer, at most by their ttl once anybody looks;
 * - prompt hand-over where processes cannot reach each other's sockets, which lie beside the file: in
 *   containers that see it under different paths a waiter goes on when a ttl has run out;
 * - that who watches a key hears at once of a lock that was released by a process which then exits without
 *   closing its manager: it may be gone before it has said so, and its old expiry tells;
 * - anything once the file is removed: a holder learns of that by its next renewal, while a new file
 *   knows nothing of it. Tokens start again with it, too.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { sqlite } from "@holdfast/lock/sqlite";
 *
 * await using locks = new LockManager(sqlite());
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * @module
 */
import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../internal/backend.ts";
import { SqliteLease } from "./sqlite/lease.ts";
import { absolutePath, defaultPath } from "./sqlite/path.ts";
import { Session } from "./sqlite/session.ts";
import { SQLITE_TRAITS } from "./sqlite/traits.ts";

/**
 * A store in a local file, made with its folder if there is none. Nothing is opened before the first
 * call.
 *
 * @param path Where the file is. Default: the environment variable `HOLDFAST_DB`, else
 * `holdfast/locks.db` in the state folder of the user.
 */
export function sqlite(path?: string | URL): Backend {
  return new SqliteBackend(path === undefined ? defaultPath() : absolutePath(path));
}

class SqliteBackend implements Backend {
  readonly name = "sqlite";
  readonly traits: Traits = SQLITE_TRAITS;
  readonly users: Set<object> = new Set();
  readonly #path: string;
  #session: Session | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async lease(request: LeaseRequest): Promise<Lease> {
    return new SqliteLease(this.#opened(), request);
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    return this.#opened().transactions.read((claims) => claims.list(scope), call);
  }

  async watch(key: string, watcher: Watcher): Promise<AsyncDisposable> {
    return await this.#opened().watch(key, watcher);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  #opened(): Session {
    return this.#session ??= new Session(this.#path);
  }
}
