/**
 * Locks in a local SQLite file, shared by every process that opens it, on any runtime. Needs no server.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { sqlite } from "@holdfast/lock/sqlite";
 *
 * await using locks = new LockManager(sqlite());
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * A lock whose process has ended, or whose worker thread was terminated, is free at once; that of a process
 * which is stopped, or computes, only when its ttl has run out. Each process proves that it lives by a lock of
 * the kernel's on a small file of its own, so nothing else is ever taken for its end.
 *
 * ## Files
 *
 * Beside the file there are `-wal` and `-shm`, which are part of it, and the folder `-peers`, with a file and a
 * socket for each process. If any of the three is removed or replaced while somebody has it open, its holders
 * find out by their next renewal and lose their locks, as "revoked"; until then nobody else is given any, but a
 * `BackendError` that is retried. That takes the folder: leave it, or remove everything when nobody is there.
 *
 * ## Rights
 *
 * - Deno: `--allow-read=FOLDER --allow-write=FOLDER`, with the folder of the file. `--allow-net` lets processes
 *   wake each other through their sockets; without it a release is noticed some 25 ms later. For the default
 *   file also `--allow-env=HOLDFAST_DB,XDG_STATE_HOME,HOME`.
 * - Node with `--permission`: `--allow-fs-read=FOLDER/*` and `--allow-fs-write=FOLDER/*`.
 * - A user without a home folder, as in many containers, sets `HOLDFAST_DB`.
 *
 * ## Several users
 *
 * A file belongs to the user who made it, and others are refused. A folder that hands its group on shares the
 * locks in it with that group, whatever anybody's umask is:
 *
 * ```sh
 * sudo mkdir /var/lib/jobs
 * sudo chgrp workers /var/lib/jobs
 * sudo chmod 2770 /var/lib/jobs
 * ```
 *
 * What it does not promise:
 * - anything beyond one machine: SQLite's own locks do not work across a network file system, nor
 *   between a virtual machine and its host. Containers of one machine may share the folder, under any path;
 * - independence of the wall clock: expiry is a wall time, the only one that processes share. A clock
 *   set forward ends locks early, and their holders see that as a loss; one set back makes those of
 *   killed processes last longer, at most by their ttl once anybody looks;
 * - that who watches a key hears at once: of the end of a process, and of what it did just before or while it
 *   had no file descriptor left, within some seconds;
 * - tokens that rise by one: they are the clock's microseconds, so that they rise even over a file that was
 *   removed, unless the clock is set back as well;
 * - anything against a process that reads its own lock file, or what is in `-peers`, by other means than SQLite
 *   (to copy its data folder, say): POSIX then drops the locks it has on them. Its socket still proves that it
 *   lives, where it has one; but Deno 2.9 hands that on to its children, so that the lock of a killed process
 *   which has some left is free by its ttl only;
 * - anything against an old copy that is written into the very file (`cp` onto it): its holders find out by their
 *   next renewal.
 *
 * @module
 */
import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../internal/backend.ts";
import { QueueLease } from "./shared/queue_lease.ts";
import { absolutePath, defaultPath } from "./sqlite/address.ts";
import { Observer } from "./sqlite/observer.ts";
import { SqliteQueues } from "./sqlite/queues.ts";
import { Registry } from "./sqlite/registry.ts";
import type { Row } from "./sqlite/tables.ts";
import { SQLITE_TRAITS } from "./sqlite/traits.ts";

/**
 * A store in a local file, made with its folder if there is none. Nothing is opened before the first
 * call.
 *
 * @param path Where the file is: a path, one that begins with `~/`, or the URL of a file. Default: the
 * environment variable `HOLDFAST_DB`, else `holdfast/locks.db` in the state folder of the user.
 * @throws {TypeError} if it cannot be meant as the path of a file: `""`, `":memory:"`, a folder, another URL
 * @throws {BackendError} if there is no default, for want of a home folder or of the right to ask for it
 */
export function sqlite(path?: string | URL): Backend {
  return new SqliteBackend(path === undefined ? defaultPath() : absolutePath(path));
}

class SqliteBackend implements Backend {
  readonly name = "sqlite";
  readonly traits: Traits = SQLITE_TRAITS;
  readonly #path: string;
  #opened: { readonly registry: Registry; readonly observer: Observer } | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async lease(request: LeaseRequest): Promise<Lease> {
    const { registry } = this.#open();
    return new QueueLease<Row>(request, (ears) => new SqliteQueues(registry, request, ears));
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    return this.#open().observer.list(scope, call);
  }

  watch(key: string, watcher: Watcher): Promise<AsyncDisposable> {
    return this.#open().observer.watch(key, watcher);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    await opened?.observer.close();
    await opened?.registry.close();
  }

  #open(): { readonly registry: Registry; readonly observer: Observer } {
    if (this.#opened === undefined) {
      const registry = new Registry(this.#path);
      this.#opened = { registry, observer: new Observer(registry) };
    }
    return this.#opened;
  }
}
