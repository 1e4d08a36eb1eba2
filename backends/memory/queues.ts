import type { Claim, Entry, Grant, LossReason, Outcome, Watcher } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";

/** A lease, as the queues see it. */
export interface Owner {
  /** Milliseconds. */
  readonly ttl: number;
  /** A claim of it was taken out. */
  dropped(place: Place, why: LossReason): void;
}

/** A claim in its queue. */
export interface Place {
  readonly claim: Claim;
  readonly limit: number;
  readonly lease: Owner;
  /** The answer once it holds; made on entering, because the token is the order number. */
  readonly grant: Grant;
  expires: number;
  held: boolean;
  /** Whoever waits in `changed`. */
  wake: ((outcome: Outcome) => void) | undefined;
}

/** The claims of one key, in order of arrival. */
export interface Queue {
  readonly places: Place[];
  /** No place expires before this: below it nothing needs to be looked through. */
  earliest: number;
}

/** All claims, by key. Expiry is looked at whenever a key is. */
export class Queues {
  readonly clock: { now(): number };
  readonly #queues = new Map<string, Queue>();
  readonly #watchers = new Map<string, Set<Watcher>>();
  #last = 0n;

  constructor(clock: { now(): number }) {
    this.clock = clock;
  }

  /** The claims of one key, or of all under a prefix with its trailing slash, as others see them. */
  list(scope: string): Entry[] {
    const keys = scope.endsWith("/")
      ? [...this.#queues.keys()].filter((key) => key.startsWith(scope))
      : [scope];
    const now = this.clock.now();
    return keys.flatMap((key) => this.live(key)?.places.map((place) => entry(place, now)) ?? []);
  }

  /** Reports every change to the queue of a key. */
  watch(key: string, watcher: Watcher): AsyncDisposable {
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers.add(watcher));
    return {
      [Symbol.asyncDispose]: () => {
        watchers.delete(watcher);
        if (watchers.size === 0 && this.#watchers.get(key) === watchers) this.#watchers.delete(key);
        return Promise.resolve();
      },
    };
  }

  /** The queue of a key without what has expired; `undefined` when nobody is there. */
  live(key: string): Queue | undefined {
    const queue = this.#queues.get(key);
    if (queue === undefined) return undefined;
    const now = this.clock.now();
    if (now < queue.earliest) return queue;
    this.remove(key, queue, (place) => place.expires <= now, "expired");
    this.remeasure(key);
    return queue.places.length > 0 ? queue : undefined;
  }

  /** Places have been given more time. */
  remeasure(key: string): void {
    const queue = this.#queues.get(key);
    if (queue === undefined) return;
    queue.earliest = queue.places.reduce((least, { expires }) => Math.min(least, expires), Infinity);
  }

  /** The place of a claim, if it is still there. */
  find(claim: Claim): Place | undefined {
    const queue = this.live(claim.key);
    if (queue === undefined) return undefined;
    const first = queue.places[0]!;
    return first.claim.id === claim.id ? first : queue.places.find((place) => place.claim.id === claim.id);
  }

  /** Puts a claim at the tail. With `wait: false` it stays only if it holds at once. */
  enter(claim: Claim, lease: Owner): Place | undefined {
    const queue = this.live(claim.key);
    const expires = this.clock.now() + lease.ttl;
    const grant: Grant = { state: "granted", token: ++this.#last };
    const place: Place = { claim, limit: claim.limit, lease, grant, expires, held: true, wake: undefined };
    if (queue === undefined) {
      this.#queues.set(claim.key, { places: [place], earliest: expires });
    } else {
      queue.places.push(place);
      place.held = holders(queue.places) === queue.places.length;
      if (!place.held && !claim.wait && !claim.steal) {
        queue.places.pop();
        return undefined;
      }
      queue.earliest = Math.min(queue.earliest, expires);
      if (claim.steal && this.remove(claim.key, queue, (other) => other !== place, "stolen")) return place;
    }
    this.#report(claim.key);
    return place;
  }

  /** Takes places out and grants to those that hold then. `why`: unless they leave by themselves. */
  remove(key: string, queue: Queue, leaves: (place: Place) => boolean, why?: LossReason): boolean {
    const { places } = queue;
    const gone: Place[] = [];
    let kept = 0;
    for (const place of places) {
      if (leaves(place)) gone.push(place);
      else places[kept++] = place;
    }
    if (gone.length === 0) return false;
    places.length = kept;
    if (kept === 0) this.#queues.delete(key);
    const held = holders(places);
    for (let index = 0; index < held; index++) {
      const place = places[index]!;
      if (place.held) continue;
      place.held = true;
      place.wake?.(place.grant);
    }
    for (const place of gone) {
      if (why !== undefined) place.lease.dropped(place, why);
      place.wake?.({ state: "gone", why: why ?? "revoked" });
    }
    this.#report(key);
    return true;
  }

  /** Takes a claim out, if it is there. */
  leave({ key, id }: Claim): boolean {
    const queue = this.live(key);
    if (queue === undefined) return false;
    // The most frequent case by far: nobody to hand the lock to.
    if (queue.places.length === 1 && queue.places[0]!.claim.id === id) {
      this.#queues.delete(key);
      this.#report(key);
      return true;
    }
    return this.remove(key, queue, ({ claim }) => claim.id === id);
  }

  /** Removes every claim of a lease. */
  end(lease: Owner): void {
    for (const key of [...this.#queues.keys()]) {
      this.remove(key, this.#queues.get(key)!, (place) => place.lease === lease);
    }
  }

  /** Milliseconds until something in the queue of a waiting place can have expired. */
  recheck(place: Place): number {
    return this.#queues.get(place.claim.key)!.earliest - this.clock.now();
  }

  #report(key: string): void {
    if (this.#watchers.size === 0) return;
    for (const watcher of this.#watchers.get(key) ?? []) watcher.changed();
  }
}

function entry({ claim, grant, held, expires }: Place, now: number): Entry {
  const { key, id, client, limit, metadata } = claim;
  const remaining = Math.max(0, expires - now);
  return { key, id, client, limit, metadata, held, ...(held && { token: grant.token }), remaining };
}
