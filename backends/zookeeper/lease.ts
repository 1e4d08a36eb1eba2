import type { Call, Claim, Lease, LeaseRequest, LossReason, Outcome } from "../../internal/backend.ts";
import { Looks } from "../../internal/looks.ts";
import { holders, watched } from "../../internal/queue.ts";
import type { Settings } from "./address.ts";
import type { Connection } from "./connection.ts";
import { Entrance } from "./entrance.ts";
import { Guards } from "./guards.ts";
import { endOf, isOf, type Placed, queueOf } from "./names.ts";
import * as op from "./operations.ts";
import { type Parents, refused } from "./parents.ts";
import { Seat } from "./seat.ts";
import { Session, SessionEnded } from "./session.ts";
import { SessionNode } from "./session_node.ts";
import { type Told, Watches } from "./watches.ts";

const { code, failedWith } = op;

/** Bytes of a request; the server takes a MiB (`jute.maxbuffer`). */
const LARGEST = 500_000;

/** A lease is a session: each claim is an ephemeral node of it. */
export class SessionLease implements Lease {
  readonly #request: LeaseRequest;
  readonly #session: Session;
  readonly #watches = new Watches();
  readonly #seats = new Map<string, Seat>();
  readonly #node: SessionNode;
  readonly #entrance: Entrance;
  readonly #guards: Guards;
  readonly #looks = new Looks();

  private constructor(request: LeaseRequest, settings: Settings, parents: Parents, patience: number) {
    this.#request = request;
    this.#session = new Session({
      settings,
      timeout: request.ttl,
      patience,
      recognize: (connection) => this.#node.isIn(connection),
      prepare: (connection) => this.#restore(connection),
      event: (type, path) => this.#watches.event(type, path),
      disconnected: () => this.#disconnected(),
      expired: () => this.#expired(),
    });
    this.#node = new SessionNode(this.#session, parents);
    this.#entrance = new Entrance(this.#session, parents);
    this.#guards = new Guards(
      this.#session,
      this.#watches,
      this.#entrance,
      (seat, why) => this.#taken(seat, why),
    );
  }

  /** Opens a session. */
  static async open(
    request: LeaseRequest,
    settings: Settings,
    parents: Parents,
    call: Call,
  ): Promise<SessionLease> {
    const lease = new SessionLease(request, settings, parents, call.timeout);
    const abandon = () => lease.abandon();
    call.signal.addEventListener("abort", abandon, { once: true });
    try {
      await lease.#session.connection();
      return lease;
    } catch (error) {
      lease.abandon();
      throw error;
    } finally {
      call.signal.removeEventListener("abort", abandon);
    }
  }

  /** What the server granted, if that is less than was asked for. */
  get ttl(): number {
    return Math.min(this.#request.ttl, this.#session.timeout);
  }

  /** Whether the store has ended it. */
  get ended(): boolean {
    return this.#session.ended;
  }

  async attempt(claim: Claim, call: Call): Promise<Outcome> {
    const seat = this.#seat(claim);
    try {
      const isNew = seat.name === undefined && !seat.doubtful && seat.entering === undefined;
      const isTaken = claim.wait || claim.steal ? undefined : () => this.#occupied(seat);
      let children = isNew
        ? await this.#looks.enter(claim.key, isTaken, () => this.#enter(seat))
        : await (seat.name === undefined ? this.#enter(seat) : this.#entrance.children(seat));
      if (children === undefined) {
        this.#seats.delete(claim.id);
        return { state: "contended" };
      }
      for (;;) {
        const queue = queueOf(children);
        const index = queue.findIndex(({ name }) => name === seat.name);
        if (index < 0 && seat.name !== undefined) seat.gone ??= endOf(seat.name, queue);
        if (seat.gone) {
          this.#seats.delete(claim.id);
          return seat.outcome;
        }
        if (holders(queue) > index) {
          this.#stopWaiting(seat);
          this.#guards.soon(seat);
          seat.held = true;
          return seat.outcome;
        }
        if (call.signal.aborted) throw call.signal.reason;
        if (claim.steal) await this.#evict(seat, queue.slice(0, index));
        else if (!claim.wait) {
          await this.#session.request(op.remove(seat.path)).catch(op.ignore(code.noNode));
          this.#forget(seat);
          return { state: "contended" };
        } else if (await this.#wait(seat, queue, index)) return seat.outcome;
        children = await this.#entrance.children(seat);
      }
    } catch (error) {
      throw refused(`use ${seat.parent}`, error);
    }
  }

  changed(claim: Claim): Promise<Outcome | void> {
    return this.#seats.get(claim.id)?.news ?? Promise.resolve();
  }

  async release(claim: Claim): Promise<boolean> {
    if (this.#session.ended) return false;
    const seat = this.#seat(claim);
    seat.withdrawn = true;
    this.#stopWaiting(seat);
    try {
      // On one connection the deletion comes after the creation; the name is needed for it, though.
      if (seat.entering) await seat.entering.catch(() => {});
      if (seat.name === undefined && seat.doubtful) {
        const children = await this.#entrance.children(seat);
        seat.name = children.find((name) => isOf(name, claim));
      }
      this.#guards.drop(seat);
      if (seat.name !== undefined) await this.#session.request(op.remove(seat.path));
      this.#forget(seat);
      return seat.name !== undefined;
    } catch (error) {
      if (error instanceof SessionEnded) return false;
      if (!failedWith(error, code.noNode)) throw refused(`delete ${seat.path}`, error);
      this.#forget(seat);
      return false;
    }
  }

  /**
   * One write, which the quorum and the session tracker must both accept. The watches of this
   * session's nodes are on the same connection, and what they had to tell of earlier transactions has
   * come before the answer: silence proves presence, however many claims there are.
   */
  async renew(claims: readonly Claim[], _call: Call): Promise<Map<string, Outcome>> {
    const outcomes = new Map<string, Outcome>();
    for (const { id } of claims) {
      const seat = this.#seats.get(id);
      if (seat) this.#guards.set(seat);
    }
    await this.#node.write(await this.#session.connection());
    for (const { id } of claims) {
      const seat = this.#seats.get(id);
      if (seat && (seat.gone || seat.watched)) outcomes.set(id, seat.outcome);
    }
    return outcomes;
  }

  async close(call: Call): Promise<void> {
    this.#guards.stop();
    await this.#session.close(call.signal);
    for (const seat of this.#seats.values()) seat.wake();
  }

  /** Leaves its end to the timeout. */
  abandon(): void {
    this.#guards.stop();
    this.#session.abandon();
  }

  #seat(claim: Claim): Seat {
    let seat = this.#seats.get(claim.id);
    if (seat === undefined) {
      seat = new Seat(claim, this.#session.chroot);
      if (this.#session.ended && seat.doubtful) seat.gone = "revoked";
      this.#seats.set(claim.id, seat);
    }
    return seat;
  }

  #forget(seat: Seat): void {
    this.#seats.delete(seat.claim.id);
    seat.wake();
  }

  /**
   * Whether a claim that may not wait would have to: then it does not even enter. A server may still
   * show who has left; before that counts it catches up with the quorum.
   */
  async #occupied(seat: Seat): Promise<boolean> {
    const connection = await this.#session.connection();
    const full = async () => {
      const queue = queueOf(await this.#entrance.children(seat, connection));
      return holders([...queue, seat.claim]) <= queue.length;
    };
    if (!await full()) return false;
    const [, still] = await Promise.all([this.#session.request(op.barrier, connection), full()]);
    return still;
  }

  /** Survives its caller: an answer that comes late still tells the node's name. */
  #enter(seat: Seat): Promise<readonly string[]> {
    return seat.entering ??= this.#entrance.enter(seat).finally(() => seat.entering = undefined);
  }

  /** Somebody has removed its node. */
  #taken(seat: Seat, why: LossReason): void {
    seat.gone = why;
    this.#stopWaiting(seat);
    this.#seats.delete(seat.claim.id);
    seat.wake(seat.outcome);
    this.#request.lost(why, seat.claim.id);
  }

  /** Waits behind those who keep it from holding; `false`: one of them has just gone. */
  async #wait(seat: Seat, queue: readonly Placed[], index: number): Promise<boolean> {
    const connection = await this.#session.connection();
    this.#guards.set(seat);
    const blockers = watched(queue, index);
    seat.wait(blockers.length === index ? queue.slice(0, index) : undefined);
    const wanted = new Set(blockers.map(({ name }) => `${seat.parent}/${name}`));
    for (const [path, told] of seat.watching) {
      if (!wanted.delete(path)) this.#unwatch(seat, path, told);
    }
    const standing = await Promise.all([...wanted].map((path) => {
      const told: Told = (type) => {
        seat.watching.delete(path);
        if (type !== "deleted") return seat.wake();
        seat.passed(path.slice(seat.parent.length + 1));
        if (seat.held) this.#stopWaiting(seat);
      };
      seat.watching.set(path, told);
      return this.#watches.add(path, told, connection);
    }));
    return standing.every(Boolean);
  }

  #stopWaiting(seat: Seat): void {
    for (const [path, told] of seat.watching) this.#unwatch(seat, path, told);
  }

  #unwatch(seat: Seat, path: string, told: Told): void {
    seat.watching.delete(path);
    this.#watches.remove(path, told, this.#session.current);
  }

  /**
   * Removes everyone ahead in one step (unless they are thousands); if one of them has left by itself
   * meanwhile, nobody. The last first: a waiter hears of its own end before that of whom it waits for.
   */
  async #evict(seat: Seat, ahead: readonly Placed[]): Promise<void> {
    const last = ahead.slice(-Math.ceil(LARGEST / (seat.path.length + 50)));
    const removals = last.map(({ name }) => op.remove(`${seat.parent}/${name}`)).reverse();
    await this.#session.request(op.multi(removals)).catch(op.ignore(code.noNode));
  }

  /** On a new connection: the write that all else comes after, and the watches of what is there. */
  async #restore(connection: Connection): Promise<void> {
    const restored = this.#guards.restore(this.#seats.values(), connection);
    await Promise.all([this.#node.write(connection), restored]);
  }

  #disconnected(): void {
    this.#watches.clear();
    for (const seat of this.#seats.values()) {
      seat.watched = undefined;
      seat.watching.clear();
      seat.wake();
    }
  }

  #expired(): void {
    for (const seat of this.#seats.values()) {
      seat.gone ??= "revoked";
      seat.wake(seat.outcome);
    }
    this.#request.lost("revoked");
  }
}
