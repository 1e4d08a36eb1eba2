import type { Claim, Entry, LossReason, Mode } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import type { Result } from "./database.ts";
import type { LockFile } from "./file.ts";

/** A claim as its row says. */
export interface Row {
  readonly key: string;
  /** Order number and fencing token. */
  readonly seq: number;
  readonly id: string;
  /** Whose it is, see `life.ts`. */
  readonly session: string;
  readonly limit: number;
  /** Milliseconds. */
  readonly ttl: number;
  /** Wall clock, milliseconds. */
  readonly expires: number;
}

/** What names a row. */
export type Standing = Pick<Row, "key" | "seq" | "id" | "expires">;

/** Where the claims of a session are entered. */
export interface Tenure {
  /** Which of its leases, from 1 on. 0: of none, for a claim that stays for its ttl when the session has ended. */
  readonly lease: number;
  /** Milliseconds. */
  readonly ttl: number;
}

const ROW = `key, seq, id, session, "limit", ttl, expires`;

/** The tables of an open file, at one moment. When they may be written is up to `transactions.ts`. */
export class Claims {
  /** Wall clock, milliseconds: that of all processes that share the file. */
  readonly now: number = Date.now();
  readonly #file: LockFile;

  constructor(file: LockFile) {
    this.#file = file;
  }

  /** The session of this process. */
  get session(): string {
    return this.#file.life.session;
  }

  /** Another number whenever something has been changed, by whichever process. */
  get version(): number {
    return this.#file.commits + (this.#file.get("PRAGMA data_version")!.data_version as number);
  }

  /** Whether a session is proven to have ended. */
  isDead(session: string): boolean {
    return this.#file.life.isDead(session);
  }

  /** What is left of a session that has ended is removed. */
  bury(session: string): void {
    this.#file.life.bury(session);
  }

  /** The sessions that have ended without a word, as far as that can be proven. */
  endedSessions(): string[] {
    const { life } = this.#file;
    const ended = [...life.others()].filter((trace) => life.isOver(trace) === true);
    return ended.flatMap((trace) => life.sessionOf(trace) ?? []);
  }

  /** The queue of a key, with what has expired and was not removed yet. */
  queue(key: string): Row[] {
    return this.ahead(key, Infinity);
  }

  /**
   * Those in a queue who stand before a claim of this limit, as far as it has to see: an exclusive
   * one holds when there is nobody, so it needs to see only the nearest.
   */
  ahead(key: string, limit: number, seq: number = Number.MAX_SAFE_INTEGER): Row[] {
    const order = limit === 1 ? "seq DESC LIMIT 1" : "seq";
    return rows(
      this.#file.all(`SELECT ${ROW} FROM claims WHERE key = ? AND seq < ? ORDER BY ${order}`, key, seq),
    );
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
    const { key, id, client, mode, limit, metadata } = claim;
    const { session } = this;
    const ttl = Math.ceil(asked);
    const next = "UPDATE counter SET last = max(last + 1, ?) RETURNING last";
    const seq = this.#file.get(next, this.now * 1_000)!.last as number;
    const expires = this.#expiry(ttl);
    this.#file.life.holdsUntil(expires, ttl);
    this.#file.run(
      `INSERT INTO claims (key, seq, id, session, lease, client, mode, "limit", ttl, expires, metadata)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[key, seq, id, session, lease, client, mode, limit, ttl, expires, metadata ?? null],
    );
    return { key, seq, id, session, limit, ttl, expires };
  }

  /** Restarts the timer of a claim. `undefined`: it is gone, or too late. */
  extend<C extends Standing>(claim: C, ttl: number): C | undefined {
    const { key, seq, id } = claim;
    const expires = this.#expiry(ttl);
    this.#file.life.holdsUntil(expires, ttl);
    const sql = `UPDATE claims SET expires = ? WHERE key = ? AND seq = ? AND id = ? AND expires > ?`;
    return this.#file.run(sql, expires, key, seq, id, this.now) > 0 ? { ...claim, expires } : undefined;
  }

  /** After the wall clock was set back: no claim has more than its ttl before it. */
  shorten(row: Row): void {
    if (row.expires > this.#expiry(row.ttl)) this.extend(row, row.ttl);
  }

  remove({ key, seq, id }: Standing): boolean {
    return this.#file.run(`DELETE FROM claims WHERE key = ? AND seq = ? AND id = ?`, key, seq, id) > 0;
  }

  /** Faster with its order number, where that is known. */
  find(key: string, id: string, seq?: number): Row | undefined {
    const where = seq === undefined ? "" : "AND seq = ?";
    const sql = `SELECT ${ROW} FROM claims WHERE key = ? AND id = ? ${where}`;
    return rows(this.#file.all(sql, key, id, ...(seq === undefined ? [] : [seq])))[0];
  }

  /** Those that end with the session. */
  ofSession(session: string): Row[] {
    return rows(this.#file.all(`SELECT ${ROW} FROM claims WHERE session = ? AND lease > 0`, session));
  }

  ofLease(session: string, lease: number): Row[] {
    return rows(this.#file.all(`SELECT ${ROW} FROM claims WHERE session = ? AND lease = ?`, session, lease));
  }

  /** Leaves a notice for the owner of a claim that is being stolen, for as long as it can believe to hold. */
  noteTheft({ id, ttl }: Row): void {
    this.#file.run(`DELETE FROM stolen WHERE expires <= ?`, this.now);
    this.#file.run(`INSERT OR IGNORE INTO stolen (id, expires) VALUES (?, ?)`, id, this.#expiry(ttl));
  }

  /** Why a claim that was seen in the file is no longer there. */
  loss({ id, expires }: Pick<Row, "id" | "expires">): LossReason {
    if (this.#file.get(`SELECT 1 FROM stolen WHERE id = ?`, id) !== undefined) return "stolen";
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

  /** The sessions of others that have claims in a scope, as of {@linkcode Claims.list}. */
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

  #entry(full: Result, held: boolean): Entry {
    const row = full as unknown as Row;
    return {
      key: row.key,
      id: row.id,
      client: full.client as string,
      mode: full.mode as Mode,
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

function rows(results: Result[]): Row[] {
  return results as unknown as Row[];
}
