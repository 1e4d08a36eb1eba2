import type {
  Call,
  Claim,
  Contended,
  Gone,
  Grant,
  Lease,
  LeaseRequest,
  LossReason,
  Outcome,
} from "../../internal/backend.ts";
import { holders, type Place as Limited, watched } from "../../internal/queue.ts";
import type { Claims, Row } from "./claims.ts";
import { departure } from "./departure.ts";
import type { Owner, Place, Session } from "./session.ts";
import type { Change } from "./transactions.ts";

/** Claims that are renewed together: rows of one session, each with its own expiry. */
export class SqliteLease implements Lease, Owner {
  readonly ttl: number;
  readonly #session: Session;
  readonly #request: LeaseRequest;
  readonly #number: number;
  readonly #places = new Map<string, Place>();
  /** Claims withdrawn before their attempt was answered: a late copy of it must not enter. */
  readonly #withdrawn = new Set<string>();
  #used = false;
  #closed = false;

  constructor(session: Session, request: LeaseRequest) {
    this.ttl = request.ttl;
    this.#session = session;
    this.#request = request;
    this.#number = session.join(this);
  }

  async attempt(claim: Claim, call: Call): Promise<Outcome> {
    await this.#session.ready();
    const isNew = !this.#places.has(claim.id);
    const enter = (): Promise<Outcome> => {
      this.#used = true;
      return this.#session.transactions.write((change) => this.#enter(claim, change), {
        durable: isNew,
        call,
      });
    };
    if (!isNew) return enter();
    const isTaken = claim.wait || claim.steal ? undefined : () => this.#isTaken(claim, call);
    return await this.#session.looks.enter(claim.key, isTaken, enter) ?? CONTENDED;
  }

  async changed(claim: Claim, call: Call): Promise<Outcome | void> {
    const { signal } = call;
    await this.#session.ready();
    while (!signal.aborted) {
      const { version, found } = await this.#session.transactions.read((claims) => ({
        version: claims.version,
        found: this.#standing(claim, claims),
      }), call);
      if (!Array.isArray(found)) {
        if (found?.state === "gone") this.#forget(claim);
        return found;
      }
      const place = this.#places.get(claim.id);
      // It may be gone since it was looked up. From here to where it listens nothing else can happen.
      if (place !== undefined) await departure(place, { ahead: found, version }, this.#session, signal);
    }
  }

  async release(claim: Claim, call: Call): Promise<boolean> {
    await this.#session.ready();
    if (claim.progress !== "entered") this.#withdrawn.add(claim.id);
    return this.#session.transactions.write(({ claims, after, changed }) => {
      const place = this.#places.get(claim.id) ?? claims.find(claim.key, claim.id);
      if (place === undefined) return false;
      after.push(() => this.#session.gone(place.seq));
      const removed = claims.remove(place);
      if (removed) changed.add(claim.key);
      return removed;
    }, { durable: false, call });
  }

  async renew(claims: readonly Claim[], call: Call): Promise<Map<string, Outcome>> {
    await this.#session.ready();
    return this.#session.transactions.write((change) => {
      const queues = new Map<string, Row[]>();
      const outcomes = new Map<string, Outcome>();
      for (const claim of claims) {
        const outcome = this.#renewed(claim, change, queues);
        if (outcome !== undefined) outcomes.set(claim.id, outcome);
      }
      return outcomes;
    }, { durable: false, call });
  }

  async close(call: Call): Promise<void> {
    this.#closed = true;
    this.#session.leave(this);
    if (!this.#used) return;
    await this.#session.ready();
    await this.#session.transactions.write(({ claims, after, changed }) => {
      for (const row of claims.ofLease(claims.session, this.#number)) {
        claims.remove(row);
        changed.add(row.key);
        after.push(() => this.#session.gone(row.seq));
      }
    }, { durable: false, call });
  }

  gone(place: Place, why?: LossReason): void {
    this.#places.delete(place.id);
    if (why !== undefined && place.held) this.#request.lost(why, place.id);
    place.wake?.();
  }

  revoked(): void {
    this.#closed = true;
    this.#session.leave(this);
    const places = [...this.#places.values()];
    this.#places.clear();
    this.#request.lost("revoked");
    for (const { wake } of places) wake?.();
  }

  /** Whether a claim that would not wait cannot have the lock: found out without writing. */
  async #isTaken(claim: Claim, call: Call): Promise<boolean> {
    for (;;) {
      const queue = await this.#session.transactions.read(
        (claims) => claims.queue(claim.key).filter((row) => !claims.expired(row)),
        call,
      );
      if (holds(queue, claim)) return false;
      const sessions = [...new Set(queue.map(({ session }) => session))];
      const dead = await Promise.all(sessions.map((session) => this.#session.buryIfDead(session)));
      if (!dead.includes(true)) return true;
      call.signal.throwIfAborted();
    }
  }

  /** The attempt itself: takes the place, or restarts the timer of the one there is. */
  #enter(claim: Claim, change: Change): Outcome {
    const { claims, changed, after } = change;
    const { id, key, limit } = claim;
    let own = this.#find(claim, claims);
    const isNew = own === undefined;
    if (own === undefined) {
      const wasThere = claim.progress === "entered" || this.#places.has(id);
      const mayEnter = !wasThere && !this.#closed && !this.#withdrawn.has(id);
      if (mayEnter && claim.steal) this.#steal(key, change);
      else if (mayEnter && !claim.wait && !holds(this.#session.ahead(key, limit, change), claim)) {
        return CONTENDED;
      }
      if (mayEnter) own = claims.enter(claim, { lease: claim.outlives ? 0 : this.#number, ttl: this.ttl });
    } else own = claims.extend(own, this.ttl);
    if (own === undefined) {
      after.push(() => this.#forget(claim));
      return this.#gone(claim, claims);
    }
    if (isNew) changed.add(key);
    const row = own;
    const ahead = this.#session.ahead(key, limit, change, row.seq);
    const held = holds(ahead, row);
    after.push(() => this.#stands(row, held));
    if (held) return granted(row);
    const recheck = Math.min(
      ...watched([...ahead, row], ahead.length).map((other) => claims.remaining(other)),
    );
    return { state: "contended", recheck };
  }

  /** Removes everyone. Their owners find a notice. */
  #steal(key: string, change: Change): void {
    for (const row of change.claims.queue(key)) {
      change.claims.noteTheft(row);
      this.#session.remove(row, change);
    }
  }

  #find(claim: Claim, claims: Claims): Row | undefined {
    return claims.find(claim.key, claim.id, this.#places.get(claim.id)?.seq);
  }

  #stands(row: Row, held: boolean): void {
    const place = this.#places.get(row.id);
    if (place !== undefined) {
      place.held ||= held;
      place.expires = row.expires;
      return;
    }
    const { key, seq, id, expires } = row;
    const entered: Place = { key, seq, id, expires, owner: this, held, wake: undefined };
    this.#places.set(id, entered);
    this.#session.stands(entered);
  }

  /**
   * How a waiting claim stands, without writing: its outcome; whom it waits for; or nothing, if one of
   * those has expired, for which the attempt has to remove it.
   */
  #standing(claim: Claim, claims: Claims): Outcome | Row[] | undefined {
    const own = this.#find(claim, claims);
    if (own === undefined) return this.#gone(claim, claims);
    const ahead = claims.ahead(claim.key, claim.limit, own.seq);
    const held = holds(ahead, own);
    this.#stands(own, held);
    if (held) return granted(own);
    const others = watched([...ahead, own], ahead.length);
    return others.some((row) => claims.expired(row)) ? undefined : others;
  }

  /** `undefined`: it has never been seen in the file, and may yet enter. */
  #renewed(claim: Claim, change: Change, queues: Map<string, Row[]>): Outcome | undefined {
    const { claims, after } = change;
    const place = this.#places.get(claim.id);
    if (place === undefined) return claim.progress === "entered" ? this.#gone(claim, claims) : undefined;
    const extended = claims.extend(place, this.ttl);
    if (extended === undefined) {
      after.push(() => this.#forget(claim));
      return this.#gone(claim, claims);
    }
    after.push(() => place.expires = extended.expires);
    if (place.held) return granted(place);
    if (!holds(this.#aheadOnce(claim, place.seq, change, queues), claim)) return CONTENDED;
    after.push(() => place.held = true);
    return granted(place);
  }

  /** As the session's, but the whole queue of a key is read once for many claims. */
  #aheadOnce(claim: Claim, seq: number, change: Change, queues: Map<string, Row[]>): Row[] {
    const { key, limit } = claim;
    if (limit === 1) return this.#session.ahead(key, limit, change, seq);
    let queue = queues.get(key);
    if (queue === undefined) queues.set(key, queue = this.#session.ahead(key, limit, change));
    return queue.filter((row) => row.seq < seq);
  }

  #gone(claim: Claim, claims: Claims): Gone {
    // One that is not on the list any more has been told why, or is too late to ask.
    const last = this.#places.get(claim.id) ?? { id: claim.id, expires: 0 };
    return { state: "gone", why: this.#closed ? "revoked" : claims.loss(last) };
  }

  #forget(claim: Claim): void {
    const place = this.#places.get(claim.id);
    if (place !== undefined) this.#session.gone(place.seq);
  }
}

const CONTENDED: Contended = { state: "contended" };

/** The queue rule for the last of a queue. */
function holds(ahead: readonly Limited[], own: Limited): boolean {
  return holders([...ahead, own]) > ahead.length;
}

function granted({ seq }: Pick<Row, "seq">): Grant {
  return { state: "granted", token: BigInt(seq) };
}
