/**
 * A backend written from nothing but tests/conformance/README.md: its store is a `Map`, and each backend object over
 * that is another process. It passes the whole conformance suite, so what is said there is enough.
 */
import { test } from "node:test";
import type {
  Attempt,
  Backend,
  Call,
  Claim,
  Entry,
  Gone,
  Lease,
  LeaseRequest,
  LossReason,
  Outcome,
  Traits,
  Watcher,
} from "../mod.ts";
import { conformance, sideBySide } from "./conformance/mod.ts";

/** Cases at a time: most of a case is waiting. */
const WIDTH = 12;

/** An entry of a queue. */
interface Row {
  readonly claim: Claim;
  readonly token: bigint;
  readonly lease: ToyLease;
  /** On the clock of `performance.now()`. */
  expires: number;
}

/** What would be a server: queues by key, each in order of arrival. */
class Store {
  readonly queues = new Map<string, readonly Row[]>();
  /** Ids of all claims that have entered, or were given up before they did. */
  readonly known = new Set<string>();
  /** Who is told of each key that has changed. */
  readonly ears = new Set<(key: string) => void>();
  tokens = 0n;

  /** The queue of a key without what has expired. */
  read(key: string): readonly Row[] {
    const queue = this.queues.get(key) ?? [];
    const live = queue.filter(({ expires }) => expires > performance.now());
    if (live.length < queue.length) this.write(key, live);
    return live;
  }

  write(key: string, queue: readonly Row[]): void {
    if (queue.length > 0) this.queues.set(key, queue);
    else this.queues.delete(key);
    for (const tell of this.ears) tell(key);
  }

  /** Tells of changes to one key until it is disposed of. */
  listen(key: string, changed: () => void): Disposable {
    const ear = (other: string) => {
      if (other === key) changed();
    };
    this.ears.add(ear);
    return { [Symbol.dispose]: () => void this.ears.delete(ear) };
  }
}

class Toy implements Backend {
  readonly name = "toy";
  readonly traits: Traits = {
    fencing: "process",
    order: "fifo",
    inOrder: true,
    semaphore: true,
    minTtl: 10,
    maxTtl: 86_400_000,
    timer: "claim",
    settle: 0,
  };
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async lease(request: LeaseRequest): Promise<Lease> {
    return new ToyLease(this.#store, request);
  }

  async list(scope: string): Promise<Entry[]> {
    const keys = scope.endsWith("/")
      ? [...this.#store.queues.keys()].filter((key) => key.startsWith(scope))
      : [scope];
    return keys.flatMap((key) => this.#store.read(key).map(entry));
  }

  async watch(key: string, watcher: Watcher): Promise<AsyncDisposable> {
    const listening = this.#store.listen(key, () => watcher.changed());
    return { [Symbol.asyncDispose]: async () => listening[Symbol.dispose]() };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class ToyLease implements Lease {
  readonly ttl: number;
  readonly told: LeaseRequest["told"];
  readonly #store: Store;

  constructor(store: Store, { ttl, told }: LeaseRequest) {
    this.#store = store;
    this.ttl = ttl;
    this.told = told;
  }

  async attempt(claim: Claim, { entered }: Attempt): Promise<Outcome> {
    const { id, key, steal, wait } = claim;
    if (this.#prolong(claim)) return this.#standing(claim);
    if (entered || this.#store.known.has(id)) return gone("revoked");
    const ahead = this.#store.read(key);
    const own: Row = {
      claim,
      token: ++this.#store.tokens,
      lease: this,
      expires: performance.now() + this.ttl,
    };
    const queue = steal ? [own] : [...ahead, own];
    if (!wait && !holds(queue, queue.length - 1)) return { state: "contended" };
    this.#store.known.add(id);
    this.#store.write(key, queue);
    for (const victim of steal ? ahead : []) victim.lease.told(gone("stolen"), victim.claim.id);
    return this.#standing(claim);
  }

  async changed(claim: Claim, { signal }: Call): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    using _listening = this.#store.listen(claim.key, resolve);
    signal.addEventListener("abort", () => resolve());
    // What has changed since the last attempt shows in how the claim stands.
    if (this.#standing(claim).state === "contended" && !signal.aborted) await promise;
  }

  async release({ id, key }: Claim): Promise<boolean> {
    this.#store.known.add(id); // no late copy of an attempt may enter
    return this.#remove(key, ({ claim }) => claim.id === id);
  }

  async renew(claims: readonly Claim[]): Promise<Map<string, Outcome>> {
    for (const claim of claims) this.#prolong(claim);
    return new Map(claims.map((claim) => [claim.id, this.#standing(claim)]));
  }

  async close(): Promise<void> {
    for (const key of this.#store.queues.keys()) this.#remove(key, ({ lease }) => lease === this);
  }

  /** Gives the claim its whole ttl again. Whether it is there. */
  #prolong({ id, key }: Claim): boolean {
    const row = this.#store.read(key).find(({ claim }) => claim.id === id);
    if (row !== undefined) row.expires = performance.now() + this.ttl;
    return row !== undefined;
  }

  #standing({ id, key }: Claim): Outcome {
    const queue = this.#store.read(key);
    const at = queue.findIndex(({ claim }) => claim.id === id);
    if (at < 0) return gone("revoked");
    if (holds(queue, at)) return { state: "granted", token: queue[at]!.token };
    return { state: "contended", recheck: Math.min(...queue.map(remaining)) };
  }

  #remove(key: string, leaves: (row: Row) => boolean): boolean {
    const queue = this.#store.read(key);
    const rest = queue.filter((row) => !leaves(row));
    if (rest.length < queue.length) this.#store.write(key, rest);
    return rest.length < queue.length;
  }
}

/** The rule: fewer are ahead than the smallest limit among the claim and them. */
function holds(queue: readonly Row[], at: number): boolean {
  return at < Math.min(...queue.slice(0, at + 1).map(({ claim }) => claim.limit));
}

function remaining({ expires }: Row): number {
  return Math.max(0, expires - performance.now());
}

function entry(row: Row, at: number, queue: readonly Row[]): Entry {
  const { claim: { key, id, client, limit, metadata }, token } = row;
  const held = holds(queue, at);
  return { key, id, client, limit, metadata, held, ...(held && { token }), remaining: remaining(row) };
}

function gone(why: LossReason): Gone {
  return { state: "gone", why };
}

const store = new Store();
const cases = conformance({
  name: "toy",
  open: () => new Toy(store),
  revoke: async (key) => store.write(key, store.read(key).filter((_, at, queue) => !holds(queue, at))),
});
for (const { group, name, skip, run } of sideBySide(cases, WIDTH)) {
  test(`a toy from the README, ${group}: ${name}`, { skip: skip ?? false, timeout: 150_000 }, run);
}
