import type { Call, Entry, LossReason, Watcher } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { Looks } from "../../internal/looks.ts";
import type { Claims, Row } from "./claims.ts";
import type { LockFile } from "./file.ts";
import type { Ending } from "./link.ts";
import { Lookouts } from "./lookout.ts";
import { atMost, Peers } from "./peers.ts";
import { type Change, type Owner as FileOwner, Transactions } from "./transactions.ts";

/** Milliseconds that closing takes at most: what it could not tidy up costs others a look, no more. */
const PATIENCE = 1_000;
/** Milliseconds between two looks for those who cannot be told: what has changed is noticed as late as that. */
const UNHEARD = 25;
/** For those who are told: who has no descriptor left, or is gone at once, tells nobody. */
const HEARD = 5_000;

/** A claim of this process that stands in the file, as far as the process knows. */
export interface Place {
  readonly key: string;
  /** Order number and fencing token. */
  readonly seq: number;
  readonly id: string;
  /** Wall clock, milliseconds. */
  expires: number;
  readonly owner: Owner;
  /** Whether it holds; that ends only with the claim. */
  held: boolean;
  /** Whoever waits until it is worth looking at. */
  wake: (() => void) | undefined;
}

/** A lease, as its session sees it. */
export interface Owner {
  /** A place is gone; and why, unless the lease knows. */
  gone(place: Place, why?: LossReason): void;
  /** The file is gone, and all places with it. */
  revoked(): void;
}

/**
 * The part of one backend object in a lock file: its connection to it, the way to other processes, and
 * what it knows of its own claims.
 */
export class Session implements FileOwner {
  /** To the file. */
  readonly transactions: Transactions;
  /** Keeps the order of claims that look first and others. */
  readonly looks: Looks = new Looks();
  /** For who waits for a process that cannot be heard. */
  readonly lookouts: Lookouts;
  readonly #path: string;
  readonly #owners = new Set<Owner>();
  readonly #places = new Map<number, Place>();
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #regular: Lookouts;
  readonly #burials = new Map<string, Promise<boolean>>();
  #peers: Peers | undefined;
  #ready: Promise<void> | undefined;
  #sweeping: Promise<void> | undefined;
  /** Ends the regular looks. */
  #looking: (() => void) | undefined;
  /** Ends those of watches that nobody can tell. */
  #watching: (() => void) | undefined;
  #leases = 0;

  constructor(path: string) {
    this.#path = path;
    this.transactions = new Transactions(path, this);
    const bury = (session: string) => this.buryIfDead(session);
    this.lookouts = new Lookouts(this.transactions, bury, UNHEARD);
    this.#regular = new Lookouts(this.transactions, bury, HEARD);
  }

  /** Resolves once the file has been found usable, and others can reach this process if ever they can. */
  ready(): Promise<void> {
    // One for all who ask, so that they go on in the order in which they came.
    return this.#ready ??= this.#open().catch((error) => {
      this.#ready = undefined;
      throw error;
    });
  }

  /** Takes in a lease. Its number in this session. */
  join(owner: Owner): number {
    this.#owners.add(owner);
    return ++this.#leases;
  }

  leave(owner: Owner): void {
    this.#owners.delete(owner);
  }

  /** A claim of ours stands in the file. */
  stands(place: Place): void {
    this.#places.set(place.seq, place);
  }

  /** A claim of ours does not stand there any more. */
  gone(seq: number, why?: LossReason): void {
    const place = this.#places.get(seq);
    this.#places.delete(seq);
    if (place !== undefined) place.owner.gone(place, why);
    this.#peers?.gone(seq);
  }

  /** Takes a claim out, whoever's it is, and has its owner and all who wait for it told. */
  remove(row: Row, { claims, changed, after }: Change): void {
    if (!claims.remove(row)) return;
    changed.add(row.key);
    const own = row.session === claims.session;
    after.push(() => {
      if (own) void this.look(row.seq).catch(() => {});
      else if (!this.#burials.has(row.session)) this.#peers?.tell(row.session, "look", row.seq);
    });
  }

  /** Those before a claim as they are to be: what has expired is removed. */
  ahead(key: string, limit: number, change: Change, seq?: number): Row[] {
    const { claims } = change;
    for (;;) {
      const rows = claims.ahead(key, limit, seq);
      const expired = rows.filter((row) => claims.expired(row));
      for (const row of rows) claims.shorten(row);
      if (expired.length === 0) return rows;
      for (const row of expired) this.remove(row, change);
    }
  }

  /** Calls `then` once, when the claim is gone or its process cannot be heard. Returns the cancellation. */
  wait({ session, seq }: Row, then: (ending: Ending) => void): () => void {
    if (this.#peers !== undefined) return this.#peers.wait(session, seq, then);
    queueMicrotask(() => then("gone")); // the file is gone, and all claims with it
    return () => {};
  }

  /** A claim of ours may have been taken out by somebody else. */
  async look(seq: number): Promise<void> {
    const place = this.#places.get(seq);
    if (place === undefined || this.#peers === undefined) return;
    const why = await this.transactions.read((claims) => {
      return claims.find(place.key, place.id) === undefined ? claims.loss(place) : undefined;
    });
    // Its owner may have released it, or have found out, in the meantime.
    if (why !== undefined && this.#places.has(seq)) this.gone(seq, why);
  }

  /** Removes all that a session has left behind, if it is proven to have ended. Whether it is. */
  buryIfDead(session: string): Promise<boolean> {
    let burial = this.#burials.get(session);
    if (burial === undefined) {
      burial = this.#buryIfDead(session).finally(() => this.#burials.delete(session));
      this.#burials.set(session, burial);
    }
    return burial;
  }

  /** What is there, without the claims of sessions that are proven to have ended. */
  async list(scope: string, call: Call): Promise<Entry[]> {
    const others = await this.transactions.read((claims) => claims.others(scope), call);
    // Who may only read sees them as well.
    await Promise.all(others.map((session) => this.buryIfDead(session).catch(() => false)));
    return await this.transactions.read((claims) => claims.list(scope), call);
  }

  /** Reports changes of a key's queue by whichever process. */
  async watch(key: string, watcher: Watcher): Promise<AsyncDisposable> {
    await this.ready();
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers.add(watcher));
    const forget = (): boolean => {
      if (!watchers.delete(watcher) || watchers.size > 0) return false;
      if (this.#watchers.get(key) === watchers) this.#watchers.delete(key);
      if (this.#watchers.size === 0) {
        this.#watching?.();
        this.#watching = undefined;
      }
      return true;
    };
    try {
      const begin = ({ claims }: Change) => {
        claims.addWatcher(key, claims.session);
        return claims.version;
      };
      const version = await this.transactions.write(begin, { durable: false });
      if (await this.#peers?.reachable === false && watchers.has(watcher)) {
        this.#watching ??= this.lookouts.add({ version, seen: () => this.#allChanged() });
      }
    } catch (error) {
      forget();
      throw error;
    }
    return {
      [Symbol.asyncDispose]: async () => {
        if (!forget()) return;
        await this.transactions.write(({ claims }) => {
          if (!this.#watchers.has(key)) claims.removeWatcher(key, claims.session);
        }, { durable: false });
      },
    };
  }

  async close(): Promise<void> {
    this.#lookAway();
    if (this.#watchers.size > 0) {
      this.#watchers.clear();
      const call = { signal: AbortSignal.timeout(PATIENCE), timeout: PATIENCE };
      const forget = ({ claims }: Change) => claims.removeWatchers(claims.session);
      await this.transactions.write(forget, { durable: false, call }).catch(() => {});
    }
    // A process that never stays for long sweeps all the same.
    await atMost(PATIENCE, this.#sweeping);
    await this.#peers?.close(PATIENCE);
    this.#peers = this.#ready = undefined;
    this.transactions.end();
  }

  opened({ life: { session }, sharing: { shared }, sessions }: LockFile): void {
    this.#peers = new Peers({ folder: sessions, session, shared }, {
      has: (seq) => this.#places.has(seq),
      look: (seq) => void this.look(seq).catch(() => {}),
      changed: (key) => this.#changed(key),
      unheard: (peer) => void this.buryIfDead(peer).catch(() => {}),
    });
    // Later: it is of use to others only.
    this.#sweeping = Promise.resolve().then(() => this.#sweep()).catch(() => {});
  }

  /** Looked up within the transaction, told after it. */
  telling(keys: readonly string[], claims: Claims): () => void {
    const { session: own } = claims;
    const sessions = keys.map((key) => claims.watchers(key));
    return () =>
      keys.forEach((key, index) => {
        for (const session of sessions[index]!) {
          if (session === own) this.#changed(key);
          else this.#peers?.tell(session, "key", key);
        }
      });
  }

  /** Somebody has removed the file. What it said is not true any more; there may be a new one. */
  replaced(): void {
    const error = new BackendError(
      `Cannot go on with the lock file ${JSON.stringify(this.#path)}: it was removed`,
    );
    const watchers = [...this.#watchers.values()].flatMap((some) => [...some]);
    this.#watchers.clear();
    this.#lookAway();
    this.#places.clear();
    for (const owner of [...this.#owners]) owner.revoked();
    this.#peers?.end();
    this.#peers = this.#ready = undefined;
    for (const watcher of watchers) watcher.failed(error);
  }

  async #open(): Promise<void> {
    const version = await this.transactions.read((claims) => claims.version);
    // Even without a watch: it is found out like this that the file was replaced, by who has nothing to do in it.
    this.#looking ??= this.#regular.add({ version, always: true, seen: () => this.#allChanged() });
    await this.#peers?.reachable;
  }

  async #buryIfDead(session: string): Promise<boolean> {
    const peers = this.#peers;
    if (peers === undefined || !await this.transactions.read((claims) => claims.isDead(session))) {
      return false;
    }
    if (await peers.answers(session)) return false;
    // Never by opening the file again: this goes on behind a session, which may have closed meanwhile.
    if (this.#peers !== peers) return false;
    await this.transactions.write((change) => {
      for (const row of change.claims.ofSession(session)) this.remove(row, change);
      change.claims.removeWatchers(session);
      // Not before: without its file nobody else could tell that the session has ended.
      change.after.push(() => change.claims.bury(session));
    }, { durable: false });
    return true;
  }

  /** Looks after what sessions that have ended have left behind. */
  async #sweep(): Promise<void> {
    if (this.#peers === undefined) return;
    const ended = await this.transactions.read((claims) => claims.endedSessions());
    for (const session of ended) await this.buryIfDead(session);
  }

  #lookAway(): void {
    this.#looking?.();
    this.#watching?.();
    this.#looking = this.#watching = undefined;
  }

  #allChanged(): void {
    for (const key of [...this.#watchers.keys()]) this.#changed(key);
  }

  #changed(key: string): void {
    for (const watcher of [...this.#watchers.get(key) ?? []]) watcher.changed();
  }
}
