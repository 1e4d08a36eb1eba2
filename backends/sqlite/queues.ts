import type { Call, Claim, Contended, Gone, LeaseRequest, LossReason } from "../../internal/backend.ts";
import { holders, watched } from "../../internal/queue.ts";
import type { OwnClaim } from "../shared/own_claim.ts";
import type { Ears, Found, Queues, Send, View } from "../shared/queues.ts";
import type { Change } from "./client/transactions.ts";
import type { Owner, Registry } from "./registry.ts";
import type { Row, Tables } from "./tables.ts";

type Own = OwnClaim<Row>;

/**
 * The queues of a lock file, as one lease reaches them: rows, each with its own expiry. Changes are made in the
 * order in which they are asked for: an attempt that was sent has entered or failed before its claim leaves.
 */
export class SqliteQueues implements Queues<Row>, Owner {
  readonly ttl: number;
  /** By looks into the file, which cost less than a `read`: that would write. */
  readonly hearsOwn = true;
  readonly #registry: Registry;
  readonly #ears: Ears<Row>;
  readonly #number: number;
  #used = false;
  #closed = false;

  constructor(registry: Registry, { ttl }: LeaseRequest, ears: Ears<Row>) {
    this.ttl = ttl;
    this.#registry = registry;
    this.#ears = ears;
    this.#number = registry.join(this);
  }

  async enter(own: Own, call: Call, send: Send): Promise<Found<Row>> {
    const { claim } = own;
    await this.#registry.ready();
    const enter = (): Promise<Found<Row>> =>
      send(() => {
        this.#used = true;
        return this.#registry.transactions.write((change) => this.#enter(own, change), {
          durable: true,
          call,
        });
      });
    const isTaken = claim.wait || claim.steal ? undefined : () => this.#isTaken(claim, call);
    return await this.#registry.entrances.enter(claim.key, isTaken, enter) ?? CONTENDED;
  }

  async read(own: Own, call: Call): Promise<Found<Row>> {
    await this.#registry.ready();
    return this.#registry.transactions.write((change) => this.#renew(own, change), { durable: false, call });
  }

  async leave({ claim: { key, id }, token }: Own, call: Call): Promise<boolean> {
    await this.#registry.ready();
    return this.#registry.transactions.write(({ tables, after }) => {
      const row = this.#registry.ownRow(Number(token))?.row ?? tables.find(key, id);
      if (row === undefined) return false;
      after.push(() => this.#registry.gone(row.seq));
      return tables.remove(row);
    }, { durable: false, call });
  }

  /** Looks at the queue by itself, at first and whenever an entry is gone. */
  async departure(own: Own, _ahead: readonly Row[], signal: AbortSignal): Promise<Found<Row> | boolean> {
    await this.#registry.ready();
    const { claim, token } = own;
    const seq = Number(token);
    while (!signal.aborted) {
      const { version, found } = await this.#registry.transactions.read((tables) => ({
        version: tables.version,
        found: this.#look(claim, seq, tables),
      }), { signal, timeout: Infinity });
      if (found === undefined) return true;
      if (!Array.isArray(found)) {
        if ("state" in found) this.#registry.gone(seq);
        return found;
      }
      await this.#oneGone(found, version, signal);
    }
    return false;
  }

  /** So many in a transaction, and the loop turns once between two: nobody waits for the renewal of ten thousand. */
  async renew(owns: readonly Own[], call: Call): Promise<Map<Own, Found<Row>>> {
    await this.#registry.ready();
    const found = new Map<Own, Found<Row>>();
    for (let at = 0; at < owns.length; at += RENEWED) {
      if (at > 0) await new Promise((resolve) => setTimeout(resolve));
      if (call.signal.aborted) break;
      try {
        const some = owns.slice(at, at + RENEWED);
        const said = await this.#registry.transactions.write((change) => {
          const queues = new Map<string, Row[]>();
          return some.map((own) => this.#renew(own, change, queues));
        }, { durable: false, call });
        some.forEach((own, index) => found.set(own, said[index]!));
      } catch (error) {
        if (found.size === 0) throw error;
        break; // what is known counts, the rest is asked about one by one
      }
    }
    return found;
  }

  async close(call: Call): Promise<void> {
    this.#closed = true;
    this.#registry.leave(this);
    if (!this.#used) return;
    await this.#registry.ready();
    await this.#registry.transactions.write(({ tables, after }) => {
      for (const row of tables.ofLease(tables.session, this.#number)) {
        tables.remove(row);
        after.push(() => this.#registry.gone(row.seq));
      }
    }, { durable: false, call });
  }

  lost(own: Own, why: LossReason): void {
    this.#ears.lost(own, why);
  }

  revoked(failure?: unknown): void {
    this.#closed = true;
    this.#registry.leave(this);
    this.#ears.ended("revoked", failure);
  }

  /** Whether a claim that would not wait cannot have the lock: found out without writing. */
  async #isTaken(claim: Claim, call: Call): Promise<boolean> {
    for (;;) {
      const queue = await this.#registry.transactions.read(
        (tables) => tables.queue(claim.key).filter((row) => !tables.expired(row)),
        call,
      );
      if (holds([...queue, claim])) return false;
      const sessions = [...new Set(queue.map(({ session }) => session))];
      const dead = await Promise.all(sessions.map((session) => this.#registry.buryIfDead(session)));
      if (!dead.includes(true)) return true;
      call.signal.throwIfAborted();
    }
  }

  /** The attempt itself. */
  #enter(own: Own, change: Change<Tables>): Found<Row> {
    const { tables, after } = change;
    const { claim, claim: { key, limit } } = own;
    const known = tables.find(key, claim.id);
    if (known !== undefined) return this.#extend(own, known, change);
    if (this.#closed) return GONE;
    if (claim.steal) this.#steal(key, change);
    else if (!claim.wait && !holds([...this.#registry.ahead(key, limit, change), claim])) return CONTENDED;
    const row = tables.enter(claim, { lease: claim.outlives ? 0 : this.#number, ttl: this.ttl });
    after.push(() => this.#registry.stands({ own, row, owner: this }));
    return viewOf(row, this.#registry.ahead(key, limit, change, row.seq));
  }

  #renew(own: Own, change: Change<Tables>, queues?: Map<string, Row[]>): Found<Row> {
    const known = this.#registry.ownRow(Number(own.token));
    return known === undefined ? GONE : this.#extend(own, known.row, change, queues);
  }

  /** Restarts the timer of an entry, and finds out how it stands. */
  #extend(own: Own, known: Row, change: Change<Tables>, queues: Map<string, Row[]> = new Map()): Found<Row> {
    const { tables, after } = change;
    const row = tables.extend(known, this.ttl);
    if (row === undefined) {
      after.push(() => this.#registry.gone(known.seq));
      return { state: "gone", why: tables.loss(known) };
    }
    after.push(() => this.#registry.stands({ own, row, owner: this }));
    return own.outcome?.state === "granted" ? own.outcome : viewOf(row, this.#ahead(row, change, queues));
  }

  /** Removes everyone. Their owners find a notice. */
  #steal(key: string, change: Change<Tables>): void {
    for (const row of change.tables.queue(key)) {
      change.tables.noteTheft(row);
      this.#registry.remove(row, change);
    }
  }

  /** As the registry's, but the whole queue of a key is read once for many claims. */
  #ahead({ key, limit, seq }: Row, change: Change<Tables>, queues: Map<string, Row[]>): Row[] {
    if (limit === 1) return this.#registry.ahead(key, limit, change, seq);
    let queue = queues.get(key);
    if (queue === undefined) queues.set(key, queue = this.#registry.ahead(key, limit, change));
    return queue.filter((row) => row.seq < seq);
  }

  /**
   * How an entry stands, without writing: what there is to tell; whom it waits for; or nothing, if one of those has
   * expired, which an attempt has to remove.
   */
  #look({ key, id, limit }: Claim, seq: number, tables: Tables): Found<Row> | Row[] | undefined {
    const row = tables.find(key, id, seq);
    if (row === undefined) {
      const last = this.#registry.ownRow(seq)?.row;
      return last === undefined ? GONE : { state: "gone", why: tables.loss(last) };
    }
    const view = viewOf(row, tables.ahead(key, limit, seq));
    const ahead = watched(view.queue, view.queue.length - 1);
    if (ahead.length === 0) return view;
    return ahead.some((other) => tables.expired(other)) ? undefined : ahead;
  }

  /**
   * Resolves when one of these may be gone, or the signal aborts. Processes say when an entry of theirs is gone. A
   * process that cannot be heard may have ended: that is looked after at once, and while it lives its entry is
   * looked after in the file, whose version is that of the last look.
   */
  async #oneGone(ahead: readonly Row[], version: number, signal: AbortSignal): Promise<void> {
    const registry = this.#registry;
    const cancel: (() => void)[] = [];
    await new Promise<void>((resolve) => {
      const wake = () => resolve();
      if (signal.aborted) return wake();
      signal.addEventListener("abort", wake);
      cancel.push(() => signal.removeEventListener("abort", wake));
      for (const row of ahead) {
        cancel.push(registry.wait(row, (ending) => {
          if (ending === "gone") return wake();
          cancel.push(registry.lookouts.add({ version, session: row.session, seen: wake }));
          registry.buryIfDead(row.session).then((buried) => buried && wake(), wake);
        }));
      }
    });
    for (const each of cancel) each();
  }
}

/** How many claims one transaction renews, which takes a few milliseconds. */
const RENEWED = 1_000;

const CONTENDED: Contended = { state: "contended" };
const GONE: Gone = { state: "gone", why: "revoked" };

/** Whether the last of a queue holds. */
function holds(queue: readonly { readonly limit: number }[]): boolean {
  return holders(queue) === queue.length;
}

function viewOf(row: Row, ahead: readonly Row[]): View<Row> {
  return { queue: [...ahead, row], token: BigInt(row.seq) };
}
