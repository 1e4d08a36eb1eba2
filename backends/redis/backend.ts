import type { Backend, Call, Entry, Lease, LeaseRequest, Traits, Watcher } from "../../internal/backend.ts";
import { KeyChannels } from "./channels.ts";
import type { OwnClaim } from "./claim.ts";
import { Connection } from "./client/connection.ts";
import { Gather } from "./client/gather.ts";
import type { Route } from "./client/link.ts";
import { RedisLease, type Shared } from "./lease.ts";
import { Observer } from "./observer.ts";
import { scripts } from "./scripts/scripts.ts";

/** See `redis()`. */
export class RedisBackend implements Backend {
  readonly name = "redis";
  readonly traits: Traits;
  /** Where this backend keeps its locks. */
  readonly route: Route;
  readonly #connection: Connection;
  readonly #claims = new Map<string, OwnClaim>();
  readonly #shared: Shared;

  /** `memory`: milliseconds for which a queue without claims remembers its last token. */
  constructor(traits: Traits, route: Route, memory: number) {
    this.traits = traits;
    this.route = route;
    this.#connection = new Connection(route, {
      message: (text) => this.#heard(text),
      down: () => this.#deaf(),
      awaits: () => this.#claims.size > 0,
    });
    const made = scripts(memory);
    this.#shared = {
      connection: this.#connection,
      claims: this.#claims,
      attempts: new Gather(this.#connection, made.attempt),
      releases: new Gather(this.#connection, made.release),
      scripts: made,
      channels: new KeyChannels(this.#connection, (text) => this.#heard(text)),
      observer: new Observer(this.#connection, made.list),
    };
  }

  /** Nothing is sent: a lease is a ttl. */
  lease(request: LeaseRequest): Promise<Lease> {
    return Promise.resolve(new RedisLease(request, this.#shared));
  }

  list(scope: string, call: Call): Promise<Entry[]> {
    return this.#shared.observer.list(scope, call);
  }

  watch(key: string, watcher: Watcher, call: Call): Promise<AsyncDisposable> {
    return this.#shared.observer.watch(key, watcher, call);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close();
    this.#claims.clear();
    this.#shared.channels.clear();
    return Promise.resolve();
  }

  #heard(text: string): void {
    const [, what, id, token] = /^(granted|stolen) (\S+) ?(\d*)$/.exec(text) ?? [];
    const own = id === undefined ? undefined : this.#claims.get(id);
    if (own === undefined) return;
    if (what === "stolen") own.lease.hear(own, { state: "gone", why: "stolen" });
    else if (token) own.lease.hear(own, { state: "granted", token: BigInt(token) });
  }

  /** Messages may have been lost: waiters ask again, and connect again by that. */
  #deaf(): void {
    for (const own of this.#claims.values()) {
      own.missed = true;
      own.wake?.();
    }
  }
}
