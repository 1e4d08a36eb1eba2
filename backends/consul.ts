/**
 * Locks in Consul, over the HTTP API of an agent: Consul 1.8 and later, no other package.
 *
 * ```ts ignore
 * import { LockManager } from "@holdfast/lock";
 * import { consul } from "@holdfast/lock/consul";
 *
 * await using locks = new LockManager(consul("https://127.0.0.1:8501", { token: "...", ca: "..." }));
 * await using lock = await locks.acquire("invoice:42");
 * ```
 *
 * A manager has one session (one for each ttl in use), whatever the number of its locks; it ends when
 * it is closed, and with it all that the manager had. A claim is a key of its own under this session.
 * An uncontended `acquire` is one request, and so is a release; a waiter listens to the key of whom it
 * waits for, and nothing else. The fencing token is the index of Consul's log at which the claim entered.
 *
 * The smallest ACL policy, for the manager's default prefix and an agent on the node `web-1`:
 *
 * ```hcl
 * key_prefix "holdfast/" { policy = "write" }
 * session "web-1"        { policy = "write" }
 * ```
 *
 * A token can be replaced while locks are held: `token` takes a function too, asked when Consul refuses
 * the token it gave last. `namespace` and `partition` of Consul Enterprise are sent with every request;
 * there was no Enterprise server to try them on. A locator may name one agent after the other: a silent one
 * costs a sixth of the time that a call has, and is avoided for ten seconds.
 *
 * Consul takes no ttl below ten seconds (nor does this: a `RangeError`), and **it ends a session as late
 * as twice its ttl after the last renewal**. A holder that dies with a ttl of ten seconds may leave its
 * lock taken for twenty; a holder that lives sees `lock.signal` abort after ten, as anywhere else.
 *
 * What it does not promise:
 *
 * - A session belongs to a node of the catalog, by default the one of the agent that is asked, and ends
 *   when this node leaves the catalog: an agent that is shut down gracefully takes the locks with it
 *   (they are lost, and the holders know). The option `node` names another one. No health check ends it.
 * - Tokens rise until the servers are restored from a snapshot.
 * - Nothing is locked across datacenters: all who contend have to name the same one.
 * - Whoever may write the keys can delete them. Such a loss is noticed by the next renewal at the
 *   latest, a third of a ttl later; a steal and the end of a session are noticed at once.
 * - A heartbeat looks at the keys of up to 64 locks by name, and beyond that at the names of all keys
 *   below the manager's prefix: services with thousands of locks should each have a prefix of their own.
 * - Consul takes 200 connections from one address (`limits.http_max_conns_per_client`). A backend uses
 *   at most about a hundred, and keeps one for renewals; many processes behind one address may need more.
 * - A proxy before Consul has to pass on `X-Consul-Index`: an answer from the KV store without it is
 *   unknown, whatever its status, and waiters without it ask about once a second. And it must not send a
 *   request a second time by itself (nginx's `proxy_next_upstream`, retries of Envoy): the copy of an attempt
 *   that has been answered can come after the release, and keeps the lock taken while the session lives.
 *
 * Which names it shares with others: none, so that they do not exclude each other.
 *
 * | who | locks `job` at | beside Holdfast's `holdfast/job/<slot>/<limit>-<id>` |
 * |---|---|---|
 * | `consul lock holdfast/job`, Go's `api.Lock` | `holdfast/job/.lock` | both hold; a steal by Holdfast deletes it |
 * | `consul lock -n=3`, Go's `api.Semaphore` | `holdfast/job/.lock`, `holdfast/job/<session>` | the same |
 * | consul-locker of name `n`, `PUT /v1/kv/n/job?acquire=` | `n/job` | both hold |
 *
 * Until the last process of the old kind is gone, take both, the old lock first, and work only while you
 * have both; then leave the old one out. Never give Holdfast a prefix below which others keep keys.
 *
 * @module
 */
import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../internal/backend.ts";
import { Limiter } from "../internal/limiter.ts";
import { type ConsulOptions, type Settings, settings } from "./consul/address.ts";
import { ConsulApi } from "./consul/client/api.ts";
import type { ConsulAddress, ConsulLocator } from "./consul/client/endpoint.ts";
import { boundsOf, ConsulHttp } from "./consul/client/http.ts";
import type { ConsulClient } from "./consul/client/package_client.ts";
import { Departures } from "./consul/departures.ts";
import type { ConsulQueued } from "./consul/entries.ts";
import { list, watch } from "./consul/observer.ts";
import { ConsulQueues, type Store } from "./consul/queues.ts";
import { CONSUL_TRAITS } from "./consul/traits.ts";
import { QueueLease } from "./shared/queue_lease.ts";

export type { ConsulAddress, ConsulClient, ConsulLocator, ConsulOptions };

/**
 * Locks in Consul.
 *
 * @throws {TypeError | RangeError} If `target` or an option is none of the things accepted.
 */
export function consul(
  target: string | ConsulOptions | ConsulClient | ConsulLocator = {},
  options: ConsulOptions = {},
): Backend {
  return new ConsulBackend(settings(target, options));
}

/** Attempts and releases in flight. Consul takes 200 connections from one address, unless told otherwise. */
const AT_ONCE = 32;

class ConsulBackend implements Backend {
  readonly name = "consul";
  readonly traits: Traits = CONSUL_TRAITS;
  readonly #http: ConsulHttp;
  readonly #store: Store;
  readonly #node: string | undefined;

  constructor(settings: Settings) {
    this.#http = new ConsulHttp(settings);
    const api = new ConsulApi(this.#http);
    this.#store = {
      api,
      root: settings.prefix,
      departures: new Departures(api),
      limiter: new Limiter(AT_ONCE),
    };
    this.#node = settings.node;
  }

  async lease(request: LeaseRequest, call: Call): Promise<Lease> {
    const name = `holdfast ${request.client}`;
    const asked = { ttl: request.ttl, name, node: this.#node };
    const session = await this.#store.api.createSession(asked, boundsOf(call));
    return new QueueLease<ConsulQueued>(
      request,
      (ears) => new ConsulQueues(this.#store, session, request.ttl, ears),
    );
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    const { api, root } = this.#store;
    return list(api, root, scope, call);
  }

  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    const { api, root } = this.#store;
    return watch(api, root, key, { watcher, call });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#store.departures.close();
    this.#http.close();
    return Promise.resolve();
  }
}
