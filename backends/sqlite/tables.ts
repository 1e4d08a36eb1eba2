import { type Claim, type Entry, type LossReason, modeOf } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import type { Queued } from "../shared/own_claim.ts";
import type { Result, Value } from "./client/database.ts";
import type { Format } from "./client/file.ts";
import type { Life } from "./peers/life.ts";
import type { LockFile } from "./peers/lock_file.ts";

/**
 * The queue of a key is one range of `claims`, in order of arrival; `seq` is the order number and the
 * fencing token, from a counter that never goes back. `stolen` tells victims what became of them,
 * `watchers` whom to tell of changes. `session` names the session of a process, see `peers/life.ts`.
 */
export const FORMAT: Format = {
  application: 0x686f6c64, // "hold" in ASCII
  version: 1,
  tables: `
    CREATE TABLE counter (last INTEGER NOT NULL) STRICT;
    INSERT INTO counter VALUES (0);
    CREATE TABLE claims (
      key TEXT NOT NULL,
      seq INTEGER NOT NULL,
      id TEXT NOT NULL,
      session TEXT NOT NULL,
      lease INTEGER NOT NULL,
      client TEXT NOT NULL,
      mode TEXT NOT NULL,
      "limit" REAL NOT NULL,
      ttl INTEGER NOT NULL,
      expires INTEGER NOT NULL,
      metadata TEXT,
      PRIMARY KEY (key, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE stolen (id TEXT PRIMARY KEY, expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE watchers (key TEXT NOT NULL, session TEXT NOT NULL, PRIMARY KEY (key, session))
      STRICT, WITHOUT ROWID;
  `,
};

/** An entry of a queue, as its row says. Its name is the claim's id. */
export interface Row extends Queued {
  readonly key: string;
  /** Order number and fencing token. */
  readonly seq: number;
  /** Whose it is, see `peers/life.ts`. */
  readonly session: string;
  /** Milliseconds. */
  readonly ttl: number;
  /** Wall clock, milliseconds. */
  readonly expires: number;
}

/** What names a row, and until when it stands. */
export type RowName = Pick<Row, "key" | "seq" | "name" | "expires">;

/** Where the claims of a session are entered. */
export interface Tenure {
  /** Which of its leases, from 1 on. 0: of none, for a claim that stays for its ttl when the session has ended. */
  readonly lease: number;
  /** Milliseconds. */
  readonly ttl: number;
}

const ROW = `key, seq, id AS name, session, "limit", ttl, expires`;

/** The tables of an open file, at one moment. When they may be written is up to `client/transactions.ts`. */
export class Tables {
  /** Wall clock, milliseconds: that of all processes that share the file. */
  readonly now: number = Date.now();
  /** Keys whose queue is no longer what it was. */
  readonly changed: Set<string> = new Set();
  readonly #file: LockFile;

  constructor(file: LockFile) {
    this.#file = file;
  }

  /** The session of this process. */
  get session(): string {
    return this.#file.life.session;
  }

  get version(): number {
    return this.#file.version;
  }

  /** Tells which sessions live. */
  get life(): Life {
    return this.#file.life;
  }

  /** The queue of a key, with what has expired and was not removed yet. */
  queue(key: string): Row[] {
    return this.ahead(key, Infinity);
  }

  /**
   * Those in a queue who stand before a claim of this limit, as far as that has to see: an exclusive
   * claim holds when none is there, so the nearest is all that it needs to see.
   */
  ahead(key: string, limit: number, seq: number = Number.MAX_SAFE_INTEGER): Row[] {
    const order = limit === 1 ? "seq DESC LIMIT 1" : "seq";
    return this.#rows(`key = ? AND seq < ? ORDER BY ${order}`, key, seq);
  }

  /** Whether a claim stands no more, by the clock. */
  expired({ expires }: Row): boolean {
    return expires <= this.now;
  }

  /**
   * Milliseconds until a claim expires. A claim that seems to have more than its ttl was entered
   * before the wall clock was set back.
   */
  remaining({ expires, ttl }: Row): number {
    return Math.max(0, Math.min(expires - this.now, ttl + ROUNDING));
  }

  /**
   * Puts a claim at the tail. Its number is the clock's microsecond, or the next one after the last: it rises
   * even where the last was lost, with a file that was removed or replaced by an older one.
   */
  enter(claim: Claim, { lease, ttl: asked }: Tenure): Row {
    const { key, id, client, limit, metadata } = claim;
    const { session } = this;
    const ttl = Math.ceil(asked);
    const next = "UPDATE counter SET last = max(last + 1, ?) RETURNING last";
    const seq = this.#file.get(next, this.now * 1_000)!.last as number;
    const expires = this.#expiry(ttl);
    this.#file.life.holdsUntil(expires, ttl);
    this.#file.run(
      `INSERT INTO claims (key, seq, id, session, lease, client, mode, "limit", ttl, expires, metadata)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[key, seq, id, session, lease, client, modeOf(limit), limit, ttl, expires, metadata ?? null],
    );
    this.changed.add(key);
    return { key, seq, name: id, session, limit, ttl, expires };
  }

  /** Restarts the timer of a claim. `undefined`: the claim is gone, or has expired. */
  extend<C extends RowName>(claim: C, ttl: number): C | undefined {
    const { key, seq, name } = claim;
    const expires = this.#expiry(ttl);
    this.#file.life.holdsUntil(expires, ttl);
    const sql = `UPDATE claims SET expires = ? WHERE key = ? AND seq = ? AND id = ? AND expires > ?`;
    return this.#file.run(sql, expires, key, seq, name, this.now) > 0 ? { ...claim, expires } : undefined;
  }

  /** After the wall clock was set back: no claim has more than its ttl before it. */
  shorten(row: Row): void {
    if (row.expires > this.#expiry(row.ttl)) this.extend(row, row.ttl);
  }

  remove({ key, seq, name }: RowName): boolean {
    const removed =
      this.#file.run(`DELETE FROM claims WHERE key = ? AND seq = ? AND id = ?`, key, seq, name) > 0;
    if (removed) this.changed.add(key);
    return removed;
  }

  /** Faster with its order number, where that is known. */
  find(key: string, id: string, seq?: number): Row | undefined {
    if (seq === undefined) return this.#rows("key = ? AND id = ?", key, id)[0];
    return this.#rows("key = ? AND id = ? AND seq = ?", key, id, seq)[0];
  }

  /** Those that end with the session. */
  ofSession(session: string): Row[] {
    return this.#rows("session = ? AND lease > 0", session);
  }

  ofLease(session: string, lease: number): Row[] {
    return this.#rows("session = ? AND lease = ?", session, lease);
  }

  /** Leaves a notice for the owner of a claim that is being stolen, for as long as it can believe to hold. */
  noteTheft({ name, ttl }: Row): void {
    this.#file.run(`DELETE FROM stolen WHERE expires <= ?`, this.now);
    this.#file.run(`INSERT OR IGNORE INTO stolen (id, expires) VALUES (?, ?)`, name, this.#expiry(ttl));
  }

  /** Why a claim that was seen in the file is no longer there. */
  loss({ name, expires }: Pick<Row, "name" | "expires">): LossReason {
    if (this.#file.get(`SELECT 1 FROM stolen WHERE id = ?`, name) !== undefined) return "stolen";
    return expires > this.now ? "revoked" : "expired";
  }

  /** The sessions to tell when the queue of a key changes. */
  watchers(key: string): string[] {
    return this.#file.all(`SELECT session FROM watchers WHERE key = ?`, key).map(({ session }) =>
      session as string
    );
  }

  addWatcher(key: string, session: string): void {
    this.#file.run(`INSERT OR IGNORE INTO watchers (key, session) VALUES (?, ?)`, key, session);
  }

  removeWatcher(key: string, session: string): void {
    this.#file.run(`DELETE FROM watchers WHERE key = ? AND session = ?`, key, session);
  }

  removeWatchers(session: string): void {
    this.#file.run(`DELETE FROM watchers WHERE session = ?`, session);
  }

  /** The sessions of others that have claims in a scope, as of {@linkcode Tables.list}. */
  others(scope: string): string[] {
    const sql = "SELECT DISTINCT session FROM claims WHERE key >= ? AND key < ? AND session <> ?";
    return this.#file.all(sql, ...range(scope), this.session).map(({ session }) => session as string);
  }

  /** The claims of one key, or of all keys under a prefix with its trailing slash, as others see them. */
  list(scope: string): Entry[] {
    const found = this.#file.all(
      `SELECT ${ROW}, client, mode, metadata FROM claims WHERE key >= ? AND key < ? ORDER BY key, seq`,
      ...range(scope),
    );
    const live = found.filter((row) => !this.expired(row as unknown as Row));
    return [...Map.groupBy(live, ({ key }) => key as string).values()].flatMap((queue) => {
      const held = holders(queue as unknown as Row[]);
      return queue.map((row, index) => this.#entry(row, index < held));
    });
  }

  #rows(where: string, ...values: Value[]): Row[] {
    return this.#file.all(`SELECT ${ROW} FROM claims WHERE ${where}`, ...values) as unknown as Row[];
  }

  #entry(full: Result, held: boolean): Entry {
    const row = full as unknown as Row;
    return {
      key: row.key,
      id: row.name,
      client: full.client as string,
      limit: row.limit,
      metadata: full.metadata as string | null ?? undefined,
      held,
      ...(held && { token: BigInt(row.seq) }),
      remaining: Math.min(row.ttl, this.remaining(row)),
    };
  }

  #expiry(ttl: number): number {
    return this.now + Math.ceil(ttl) + ROUNDING;
  }
}

/** From the first key of a scope to the first one after it. */
function range(scope: string): [string, string] {
  return [scope, scope.endsWith("/") ? `${scope.slice(0, -1)}0` : `${scope}\0`]; // "0" comes after "/"
}

/** `Date.now()` may be a millisecond behind the clock that a holder's deadline is computed from. */
const ROUNDING = 1;
