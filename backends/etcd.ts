/**
 * Locks on etcd 3.4 and newer.
 *
 * One etcd lease keeps all locks of a ttl alive. A lock is a key under it, and its place in the queue
 * the key's create revision, which is the fencing token as well. An uncontended acquisition is one
 * transaction, a release another; who waits watches only whom it waits for.
 *
 * What it does not promise:
 * - Tokens rise until the cluster is restored from a backup; then they may come again.
 * - etcd counts a ttl in whole seconds, never below one and a half election timeouts (2 s unless
 *   configured), and looks for expired leases twice a second: a lock whose holder died may stay up to
 *   that much longer. A new leader starts every ttl afresh.
 * - A `steal` removes a Go holder as well, which is not told.
 * - Whoever may write to the prefix can delete the keys of others. A holder learns that at its next
 *   renewal, a third of the ttl later.
 * - Up to etcd 3.4.30 and 3.5.12 a leader that was stopped for long and goes on may have leases revoked that were
 *   renewed meanwhile (etcd's issue 15247): somebody else is granted the lock up to a third of the ttl before
 *   its holder knows. Use 3.4.31, 3.5.13 or newer.
 * - While the majority of the members is out of reach, nothing is granted and nothing renewed. Nor is a
 *   cluster believed that was restored or set up anew under what is held: that ends by its deadline.
 * - A proxy before etcd must not send a request a second time by itself: the copy of an attempt that has been
 *   answered can come after the release, and keeps the lock taken while the lease lives.
 * - Through `etcd grpc-proxy` a renewal takes up to half a second: use a ttl from 3 s on.
 * - An answer of more than 64 MiB is an error: half a million waiters for one key, or locks of one ttl.
 *
 * ```ts
 * import { LockManager } from "@holdfast/lock";
 * import { etcd } from "@holdfast/lock/etcd";
 *
 * await using locks = new LockManager(etcd("http://127.0.0.1:2379"));
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * **Users.** Where etcd asks for one, the right to the keys of the prefix is all that it needs:
 *
 * ```sh
 * etcdctl user add worker:PASSWORD
 * etcdctl role add locks
 * etcdctl role grant-permission locks --prefix=true readwrite holdfast/
 * etcdctl user grant-role worker locks
 * ```
 *
 * **Others.** A claim is a key `<prefix>/<key>/<lease>-<n>`, and what stands in one queue excludes each other:
 *
 * | theirs | ours |
 * |---|---|
 * | `etcdctl lock holdfast/jobs`, Go's `concurrency.NewMutex(session, "holdfast/jobs")`, etcd's own lock service | `acquire("jobs")`, with the prefix "holdfast"; all ours are exclusive to them |
 * | the same with `holdfast/a%2Fb` | `acquire("a/b")`: what is no letter, digit or one of `_.:@+=,-` is escaped |
 * | `etcdctl lock jobs`, without a slash; the `Lock` of the package `etcd3`; `microlock` | nothing: they do not exclude each other |
 *
 * `microlock` keeps its locks in etcd's older store, of which this one sees nothing (and etcd 3.6 has none).
 * To change over while both run, let the new version take both locks, ours first, and leave the other one out once
 * no old version runs any more.
 *
 * @module
 */
import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../internal/backend.ts";
import { EtcdClient } from "./etcd/client/client.ts";
import type { EtcdQueued } from "./etcd/entries.ts";
import { list, watch } from "./etcd/observer.ts";
import { EtcdQueues } from "./etcd/queues.ts";
import type { Port } from "./etcd/client/port.ts";
import { EtcdError } from "./etcd/client/errors.ts";
import { type EtcdTarget, readTarget } from "./etcd/address.ts";
import { ETCD_TRAITS } from "./etcd/traits.ts";
import { QueueLease } from "./shared/queue_lease.ts";

export type { Etcd3Like } from "./etcd/client/handed_in.ts";
export type { EtcdLocator, EtcdOptions, EtcdTarget, EtcdTls } from "./etcd/address.ts";

/**
 * A store on etcd: by one or several addresses (members of one cluster), by options, wherever a
 * locator says, or over a client of the package `etcd3`, which stays open.
 *
 * A client handed in should not retry by itself (give it a `faultHandling` that passes everything
 * through), or a release that it had to repeat answers that the lock had been lost before.
 *
 * @throws {TypeError} If an address or an option is none, or a password has no username.
 * @throws {RangeError} If a port is none.
 */
export function etcd(target: EtcdTarget = {}): Backend {
  return new EtcdBackend(new EtcdClient(readTarget(target)));
}

class EtcdBackend implements Backend {
  readonly name = "etcd";
  readonly traits: Traits = ETCD_TRAITS;
  readonly #port: Port;

  constructor(port: Port) {
    this.#port = port;
  }

  async lease(request: LeaseRequest, call: Call): Promise<Lease> {
    const granted = await this.#port.call("leaseGrant", { TTL: Math.ceil(request.ttl / 1_000) }, call);
    if (BigInt(granted.ID) <= 0n || Number(granted.TTL) < 1) {
      throw EtcdError.unreadable("a lease without an id or a ttl");
    }
    return new QueueLease<EtcdQueued>(request, (ears) => new EtcdQueues(this.#port, request, granted, ears));
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    return list(this.#port, scope, call);
  }

  watch(key: string, watcher: Watcher): Promise<AsyncDisposable> {
    return watch(this.#port, key, watcher);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#port.close();
  }
}
