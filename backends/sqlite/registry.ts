import type { LossReason } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { Entrances } from "../../internal/entrances.ts";
import type { OwnClaim } from "../shared/own_claim.ts";
import { type Change, type Content, Transactions } from "./client/transactions.ts";
import type { Ending } from "./peers/link.ts";
import { LockFile } from "./peers/lock_file.ts";
import { Lookouts } from "./peers/lookouts.ts";
import { atMost, Peers } from "./peers/peers.ts";
import { FORMAT, type Row, Tables } from "./tables.ts";

/** Milliseconds that closing takes at most: what it could not tidy up costs others a look, no more. */
export const PATIENCE = 1_000;
/** Milliseconds between two looks for those who cannot be told: what has changed is noticed as late as that. */
const UNHEARD = 25;
/** For those who are told: a process that has no descriptor left, or has ended at once, tells none of them. */
const HEARD = 5_000;

/** An entry of this process that stands in the file, as far as the process knows. */
export interface OwnRow {
  readonly own: OwnClaim<Row>;
  readonly row: Row;
  readonly owner: Owner;
}

/** The queues of a lease, as the registry sees them. */
export interface Owner {
  /** The entry of one of its claims was taken out by another lease, or by the clock. */
  lost(own: OwnClaim<Row>, why: LossReason): void;
  /** The file is gone, or given up for a failure, and all entries with it. */
  revoked(failure?: unknown): void;
}

/** Who hears of changes, by whichever process. */
export interface Onlooker {
  /** The queue of a key has changed. */
  changed(key: string): void;
  /** Any queue may have changed. */
  anyChanged(): void;
  /** The file is gone. */
  failed(error: BackendError): void;
}

/**
 * The lock file, as one backend object has it open: the connection, the way to other processes, and what is
 * known of own entries.
 */
export class Registry implements Content<LockFile, Tables> {
  readonly transactions: Transactions<LockFile, Tables>;
  /** Keeps the order of claims that look first and others. */
  readonly entrances: Entrances = new Entrances();
  /** For who waits for a process that cannot be heard. */
  readonly lookouts: Lookouts;
  readonly #path: string;
  readonly #owners = new Set<Owner>();
  /** Own entries in the file, by their order numbers. */
  readonly #own = new Map<number, OwnRow>();
  readonly #regular: Lookouts;
  readonly #burials = new Map<string, Promise<boolean>>();
  #onlooker: Onlooker | undefined;
  #peers: Peers | undefined;
  #ready: Promise<void> | undefined;
  #sweeping: Promise<void> | undefined;
  /** Ends the regular looks. */
  #looking: (() => void) | undefined;
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

  /** Has changes told. */
  listen(onlooker: Onlooker): void {
    this.#onlooker = onlooker;
  }

  /** Takes in a lease. Its number among those of the registry. */
  join(owner: Owner): number {
    this.#owners.add(owner);
    return ++this.#leases;
  }

  leave(owner: Owner): void {
    this.#owners.delete(owner);
  }

  /** What is known of an own entry. */
  ownRow(seq: number): OwnRow | undefined {
    return this.#own.get(seq);
  }

  /** An entry of ours stands in the file. */
  stands(ownRow: OwnRow): void {
    this.#own.set(ownRow.row.seq, ownRow);
  }

  /** An entry of ours does not stand there any more. */
  gone(seq: number): void {
    this.#own.delete(seq);
    this.#peers?.gone(seq);
  }

  /** Takes out any entry, and has its owner and all who wait for that told. */
  remove(row: Row, { tables, after }: Change<Tables>): void {
    if (!tables.remove(row)) return;
    const own = row.session === tables.session;
    after.push(() => {
      if (own) void this.look(row.seq).catch(() => {});
      else if (!this.#burials.has(row.session)) this.#peers?.tell(row.session, "look", row.seq);
    });
  }

  /** Those before a claim as they are to be: what has expired is removed. */
  ahead(key: string, limit: number, change: Change<Tables>, seq?: number): Row[] {
    const { tables } = change;
    for (;;) {
      const rows = tables.ahead(key, limit, seq);
      const expired = rows.filter((row) => tables.expired(row));
      for (const row of rows) tables.shorten(row);
      if (expired.length === 0) {
        return rows.map((row) => Object.assign(row, { remaining: tables.remaining(row) }));
      }
      for (const row of expired) this.remove(row, change);
    }
  }

  /** Calls `then` once, when the claim is gone or its process cannot be heard. Returns the cancellation. */
  wait({ session, seq }: Row, then: (ending: Ending) => void): () => void {
    if (this.#peers !== undefined) return this.#peers.wait(session, seq, then);
    queueMicrotask(() => then("gone")); // the file is gone, and all claims with it
    return () => {};
  }

  /** An entry of ours may have been taken out by another process. */
  async look(seq: number): Promise<void> {
    const row = this.#own.get(seq)?.row;
    if (row === undefined || this.#peers === undefined) return;
    const why = await this.transactions.read((tables) => {
      return tables.find(row.key, row.name, seq) === undefined ? tables.loss(row) : undefined;
    });
    // Its owner may have released it, or have found out, in the meantime.
    const ownRow = this.#own.get(seq);
    if (why === undefined || ownRow === undefined) return;
    ownRow.owner.lost(ownRow.own, why);
    this.gone(seq);
  }

  /** Removes all that a session has left behind, if the session is proven to have ended. Returns whether it is. */
  buryIfDead(session: string): Promise<boolean> {
    let burial = this.#burials.get(session);
    if (burial === undefined) {
      burial = this.#buryIfDead(session).finally(() => this.#burials.delete(session));
      this.#burials.set(session, burial);
    }
    return burial;
  }

  /** Resolves with whether other processes can tell this one of changes. */
  async reachable(): Promise<boolean> {
    return await this.#peers?.reachable ?? true;
  }

  async close(): Promise<void> {
    this.#lookAway();
    // A process that never stays for long sweeps all the same.
    await atMost(PATIENCE, this.#sweeping);
    await this.#peers?.close(PATIENCE);
    this.#peers = this.#ready = undefined;
    this.transactions.end();
  }

  open(path: string): LockFile {
    const file = new LockFile(path, FORMAT);
    const { life: { session }, sharing: { shared }, sessions } = file;
    this.#peers = new Peers({ folder: sessions, session, shared }, {
      has: (seq) => this.#own.has(seq),
      look: (seq) => void this.look(seq).catch(() => {}),
      changed: (key) => this.#onlooker?.changed(key),
      unheard: (peer) => void this.buryIfDead(peer).catch(() => {}),
    });
    // Later: sweeping is of use to others only.
    this.#sweeping = Promise.resolve().then(() => this.#sweep()).catch(() => {});
    return file;
  }

  tables(file: LockFile): Tables {
    return new Tables(file);
  }

  /** Who is to hear of changed queues is looked up within the transaction, and told after it. */
  committing({ tables, after }: Change<Tables>): void {
    if (tables.changed.size === 0) return;
    const { session: own } = tables;
    const keys = [...tables.changed];
    const sessions = keys.map((key) => tables.watchers(key));
    after.push(() =>
      keys.forEach((key, index) => {
        for (const session of sessions[index]!) {
          if (session === own) this.#onlooker?.changed(key);
          else this.#peers?.tell(session, "key", key);
        }
      })
    );
  }

  /** The file was removed, or cannot be used. What was read in it is not true any more; there may be a new one. */
  replaced(failure?: unknown): void {
    this.#lookAway();
    this.#own.clear();
    for (const owner of [...this.#owners]) owner.revoked(failure);
    this.#peers?.end();
    this.#peers = this.#ready = undefined;
    const why = failure === undefined ? "was removed" : "cannot be used any more";
    this.#onlooker?.failed(
      new BackendError(`Cannot go on with the lock file ${JSON.stringify(this.#path)}: it ${why}`),
    );
  }

  async #open(): Promise<void> {
    const version = await this.transactions.read((tables) => tables.version);
    // Even without a watch: a process that has nothing to do in the file finds out like this that it was replaced.
    this.#looking ??= this.#regular.add({ version, always: true, seen: () => this.#onlooker?.anyChanged() });
    await this.#peers?.reachable;
  }

  async #buryIfDead(session: string): Promise<boolean> {
    const peers = this.#peers;
    if (peers === undefined || !await this.transactions.read(({ life }) => life.isDead(session))) {
      return false;
    }
    if (await peers.answers(session)) return false;
    // Never by opening the file again: this goes on behind a session, which may have closed meanwhile.
    if (this.#peers !== peers) return false;
    await this.transactions.write((change) => {
      const { tables, after } = change;
      for (const row of tables.ofSession(session)) this.remove(row, change);
      tables.removeWatchers(session);
      // Not before: without its file no other process could tell that the session has ended.
      after.push(() => tables.life.bury(session));
    }, { durable: false });
    return true;
  }

  /** Looks after what sessions that have ended have left behind. */
  async #sweep(): Promise<void> {
    if (this.#peers === undefined) return;
    const ended = await this.transactions.read(({ life }) => life.ended());
    for (const session of ended) await this.buryIfDead(session);
  }

  #lookAway(): void {
    this.#looking?.();
    this.#looking = undefined;
  }
}
