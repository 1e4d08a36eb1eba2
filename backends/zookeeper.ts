/**
 * Locks in ZooKeeper 3.5 or later.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { zookeeper } from "@holdfast/lock/zookeeper";
 *
 * await using locks = new LockManager(zookeeper("127.0.0.1:2181"));
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * A claim is an ephemeral sequential node, named as Curator's `InterProcessMutex` names it: a mutex on
 * `/<chroot>/<prefix>/<key>` in Java and an exclusive lock here exclude each other, in one queue. Letters,
 * digits and `_.:@+=,-` stand in these names as they are; the rest is escaped (`my job` is `my%20job`). Of
 * other recipes this is not promised. The fencing token is the node's `czxid`, the number of the transaction
 * that created it.
 *
 * Each ttl in use is a session, hence a connection, and `inspect`, `query` and `watch` take one more:
 * `maxClientCnxns` (60 per host by default) counts them all.
 *
 * What it does **not** promise:
 * - The server has the last word on a ttl (by default 2 to 20 of its `tickTime`s): a longer one is cut to
 *   what it grants; after a crash, a shorter one is freed only when the server's shortest has passed.
 * - A Java client that shares a lock does not notice a `steal`, nor does Curator know of shared locks and
 *   semaphores: it waits until everyone ahead has gone.
 * - Tokens fall if the ensemble is restored from a backup.
 * - A lock is only as safe as `tickTime` is right: an option smaller than the servers' own lets a client
 *   believe for a moment too long, should its follower be cut off.
 * - A follower tells its leader of a renewal up to a `tickTime` late, so one counts only once another,
 *   sent that much after its answer, is acknowledged too. With a ttl of a few `tickTime`s, a pause of half
 *   of it can cost the lock: give it ten.
 * - Traffic is not encrypted, and digest authentication sends the password in the clear.
 *
 * @module
 */

import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../internal/backend.ts";
import { QueueLease } from "./shared/queue_lease.ts";
import { settingsOf, type ZooKeeperLocator, type ZooKeeperOptions } from "./zookeeper/address.ts";
import { Parents } from "./zookeeper/client/parents.ts";
import type { Settings } from "./zookeeper/client/settings.ts";
import type { ZooKeeperQueued } from "./zookeeper/names.ts";
import { Observer } from "./zookeeper/observer.ts";
import { ZooKeeperQueues } from "./zookeeper/queues.ts";
import { zookeeperTraits } from "./zookeeper/traits.ts";

export type { ZooKeeperAddress, ZooKeeperLocator, ZooKeeperOptions } from "./zookeeper/address.ts";

/**
 * Locks in ZooKeeper. Nothing connects before the first call.
 *
 * @param address `"host:2181,host:2181/chroot"`, options, or a function that finds the servers at every
 * connection and reconnection (the chroot stays that of a lock's first connection).
 * @throws {TypeError | RangeError} for an address or option that cannot be right.
 */
export function zookeeper(address: string | ZooKeeperOptions | ZooKeeperLocator): Backend {
  return new ZooKeeper(settingsOf(address));
}

class ZooKeeper implements Backend {
  readonly name = "zookeeper";
  readonly traits: Traits;
  readonly #settings: Settings;
  readonly #parents: Parents;
  readonly #observer: Observer;
  readonly #open = new Set<ZooKeeperQueues>();

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#parents = new Parents(settings.credentials !== undefined);
    this.#observer = new Observer(settings);
    this.traits = zookeeperTraits(settings.tickTime);
  }

  async lease(request: LeaseRequest, call: Call): Promise<Lease> {
    for (const queues of this.#open) if (queues.ended) this.#open.delete(queues);
    let queues!: ZooKeeperQueues;
    const lease = new QueueLease<ZooKeeperQueued>(request, (ears) => {
      queues = new ZooKeeperQueues(request, this.#settings, this.#parents, call.timeout, ears);
      return queues;
    });
    await queues.open(call);
    this.#open.add(queues);
    return lease;
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    return this.#observer.list(scope, call);
  }

  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    return this.#observer.watch(key, watcher, call);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#observer.close();
    for (const queues of this.#open) queues.abandon();
    this.#open.clear();
    return Promise.resolve();
  }
}
