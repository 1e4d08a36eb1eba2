import type { LossReason, Watcher } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { Looks } from "../../internal/looks.ts";
import { removeSocket } from "./address.ts";
import type { Claims, Row } from "./claims.ts";
import { Peers } from "./peers.ts";
import { type Change, Transactions } from "./transactions.ts";

/** Milliseconds that closing takes at most: what it could not tidy up costs others a look, no more. */
const PATIENCE = 1_000;

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
 * The part of one backend object in a lock file: its connection to it, the address where other
 * processes reach it, and what it knows of its own claims.
 */
export class Session {
  /** To the file. */
  readonly transactions: Transactions;
  /** Keeps the order of claims that look first and others. */
  readonly looks: Looks = new Looks();
  readonly #path: string;
  readonly #owners = new Set<Owner>();
  readonly #places = new Map<number, Place>();
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #burials = new Map<string, Promise<void>>();
  #peers: Promise<Peers> | undefined;
  #leases = 0;

  constructor(path: string) {
    this.#path = path;
    this.transactions = new Transactions(
      path,
      (keys, claims) => this.#telling(keys, claims),
      () => this.#replaced(),
    );
  }

  /** The way to other processes; opened when first needed, once the file has been found usable. */
  get peers(): Promise<Peers> {
    return this.#peers ??= this.#listen().catch((error) => {
      this.#peers = undefined;
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
  gone(seq: number, peers: Peers, why?: LossReason): void {
    const place = this.#places.get(seq);
    this.#places.delete(seq);
    if (place !== undefined) place.owner.gone(place, why);
    peers.gone(seq);
  }

  /** Takes a claim out, whoever's it is, and has its owner and all who wait for it told. */
  remove(row: Row, { claims, changed, after }: Change, peers: Peers): void {
    if (!claims.remove(row)) return;
    changed.add(row.key);
    after.push(() => {
      if (row.session === peers.address) void this.look(row.seq).catch(() => {});
      else if (!this.#burials.has(row.session)) peers.tell(row.session, "look", row.seq);
    });
  }

  /** Those before a claim as they are to be: what has expired is removed. */
  ahead(key: string, limit: number, change: Change, peers: Peers, seq?: number): Row[] {
    const { claims } = change;
    for (;;) {
      const rows = claims.ahead(key, limit, seq);
      const expired = rows.filter((row) => claims.expired(row));
      for (const row of rows) claims.shorten(row);
      if (expired.length === 0) return rows;
      for (const row of expired) this.remove(row, change, peers);
    }
  }

  /** A claim of ours may have been taken out by somebody else. */
  async look(seq: number): Promise<void> {
    const place = this.#places.get(seq);
    if (place === undefined) return;
    const why = await this.transactions.read((claims) => {
      return claims.find(place.key, place.id) === undefined ? claims.loss(place) : undefined;
    });
    // Its owner may have released it, or have found out, in the meantime.
    if (why !== undefined && this.#places.has(seq)) this.gone(seq, await this.peers, why);
  }

  /** Removes all that a process has left behind that is proven to have ended. */
  bury(address: string): Promise<void> {
    let burial = this.#burials.get(address);
    if (burial === undefined) {
      burial = this.#bury(address).finally(() => this.#burials.delete(address));
      this.#burials.set(address, burial);
    }
    return burial;
  }

  /** Reports changes of a key's queue by whichever process. */
  async watch(key: string, watcher: Watcher): Promise<AsyncDisposable> {
    const { address } = await this.peers;
    if (address === "") {
      const what = `Cannot watch locks in ${JSON.stringify(this.#path)}: no socket can be opened beside it`;
      throw new BackendError(`${what} or in the folder for temporary files. Make one of them writable`, {
        retryable: false,
      });
    }
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers.add(watcher));
    const forget = (): boolean => {
      if (!watchers.delete(watcher) || watchers.size > 0) return false;
      if (this.#watchers.get(key) === watchers) this.#watchers.delete(key);
      return true;
    };
    try {
      await this.transactions.write(({ claims }) => claims.addWatcher(key, address), { durable: false });
    } catch (error) {
      forget();
      throw error;
    }
    return {
      [Symbol.asyncDispose]: async () => {
        if (!forget()) return;
        await this.transactions.write(({ claims }) => {
          if (!this.#watchers.has(key)) claims.removeWatcher(key, address);
        }, { durable: false });
      },
    };
  }

  async close(): Promise<void> {
    const peers = await this.#peers?.catch(() => undefined);
    if (peers !== undefined && this.#watchers.size > 0) {
      this.#watchers.clear();
      // Without its socket file nobody could tell that these are nobody's.
      const { address } = peers;
      const call = { signal: AbortSignal.timeout(PATIENCE), timeout: PATIENCE };
      const forget = ({ claims }: Change) => claims.removeWatchers(address);
      await this.transactions.write(forget, { durable: false, call }).catch(() => {});
    }
    await peers?.close(PATIENCE);
    this.transactions.end();
  }

  async #listen(): Promise<Peers> {
    await this.transactions.read(() => {});
    return await Peers.listen(this.#path, {
      has: (seq) => this.#places.has(seq),
      look: (seq) => void this.look(seq).catch(() => {}),
      changed: (key) => this.#changed(key),
      dead: (address) => void this.bury(address).catch(() => {}),
    });
  }

  async #bury(address: string): Promise<void> {
    const peers = await this.peers;
    await this.transactions.write((change) => {
      for (const row of change.claims.ofSession(address)) this.remove(row, change, peers);
      change.claims.removeWatchers(address);
    }, { durable: false });
    // Not before: without it nobody else could tell that the process has ended.
    removeSocket(address);
  }

  /** Whom to tell that queues have changed: looked up within the transaction, told after it. */
  #telling(keys: readonly string[], claims: Claims): () => void {
    const sessions = keys.map((key) => claims.watchers(key));
    return () =>
      keys.forEach((key, index) => {
        if (sessions[index]!.length > 0) void this.#tell(key, sessions[index]!);
      });
  }

  async #tell(key: string, sessions: readonly string[]): Promise<void> {
    const peers = await this.peers;
    for (const session of sessions) {
      if (session === peers.address) this.#changed(key);
      else peers.tell(session, "key", key);
    }
  }

  #changed(key: string): void {
    for (const watcher of [...this.#watchers.get(key) ?? []]) watcher.changed();
  }

  /** Somebody has removed the file. What it said is not true any more; there may be a new one. */
  #replaced(): void {
    const error = new BackendError(
      `Cannot go on with the lock file ${JSON.stringify(this.#path)}: it was removed`,
    );
    const watchers = [...this.#watchers.values()].flatMap((some) => [...some]);
    this.#watchers.clear();
    this.#places.clear();
    for (const owner of [...this.#owners]) owner.revoked();
    for (const watcher of watchers) watcher.failed(error);
  }
}
