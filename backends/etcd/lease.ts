import type { Call, Claim, Lease, LeaseRequest, Outcome } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { holders } from "../../internal/queue.ts";
import { Believed, sameTerm } from "./believed.ts";
import { Marks } from "./marks.ts";
import type { Header, LeaseGrantResponse, TxnRequest, TxnResponse } from "./messages.ts";
import { Numbers, prefixOf } from "./names.ts";
import { Place, queueOf } from "./place.ts";
import type { Bounds, Port } from "./port.ts";
import { found } from "./requests.ts";
import { readStandings, type Standings } from "./standings.ts";
import { EtcdError, isLeaseGone } from "./status.ts";
import * as txns from "./txns.ts";

/** How often an attempt is made anew because something else has happened to its lease meanwhile. */
const ROUNDS = 100;

/** Milliseconds for what nobody waits for. */
const BEHIND = 3_000;

/** An etcd lease, and the claims whose keys are attached to it. */
export class EtcdLease implements Lease {
  ttl: number;
  readonly #port: Port;
  readonly #etcd: Believed;
  readonly #request: LeaseRequest;
  /** Its id, as etcd's messages have it. */
  readonly #id: string;
  /** Its id, as names have it. */
  readonly #hex: string;
  readonly #opened: bigint;
  readonly #places = new Map<string, Place>();
  readonly #marks = new Map<string, Marks>();
  readonly #numbers = new Numbers();
  /** Those that are gone, while a copy of an attempt might still enter. */
  readonly #buried = new Set<Place>();
  #ended = false;

  constructor(port: Port, request: LeaseRequest, granted: LeaseGrantResponse) {
    this.#port = port;
    this.#request = request;
    this.#id = granted.ID;
    this.#hex = BigInt(granted.ID).toString(16);
    this.#opened = BigInt(granted.header.revision);
    this.#etcd = new Believed(port, granted.header, {
      answered: () => this.#listen(),
      // One that nothing is held under is done with: whoever waits enters anew.
      foreign: () => this.#places.values().some(({ held }) => held) || this.#lost(),
    });
    this.ttl = Math.min(request.ttl, Number(granted.TTL) * 1_000);
  }

  async attempt(claim: Claim, call: Call): Promise<Outcome> {
    if (this.#ended) throw new BackendError("Cannot enter the queue: the etcd lease has ended");
    let place = this.#places.get(claim.id);
    if (place === undefined) {
      if (claim.progress === "entered") return { state: "gone", why: "revoked" };
      place = new Place(claim, this.#hex, this.#numbers.take(claim.key));
      this.#places.set(claim.id, place);
    }
    if (place.created !== undefined) return await this.#look(place, call);
    return claim.steal ? await this.#steal(place, call) : await this.#enter(place, call);
  }

  async changed(claim: Claim, call: Call): Promise<void> {
    const place = this.#places.get(claim.id);
    if (place === undefined || place.ahead.length === 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (call.signal.aborted) return;
    const watches = place.ahead.map((name) =>
      this.#port.watch(txns.departure(name, place.since), {
        changed: () => resolve(),
        failed: (error, compacted) => compacted ? resolve() : reject(error),
      })
    );
    call.signal.addEventListener("abort", () => resolve(), { once: true });
    try {
      await promise;
    } finally {
      for (const watch of watches) watch.cancel();
    }
  }

  async release(claim: Claim, call: Call): Promise<boolean> {
    const place = this.#places.get(claim.id);
    if (place === undefined || this.#ended) return false;
    place.withdrawn = true;
    let removed = false;
    if (place.doubts > 0) removed = await this.#withdraw(place, call);
    // Otherwise it has entered, or nothing was ever sent.
    else if (place.created !== undefined) removed = await this.#remove(txns.release(place), call);
    this.#drop(place);
    return removed;
  }

  /**
   * A keep-alive, then a linearizable read. It counts only if every answer comes from the same term:
   * a deposed leader that does not know it yet acknowledges keep-alives too. A keep-alive says nothing
   * of the keys: those of held claims are asked of the lease, the queues of the others are read.
   */
  async renew(claims: readonly Claim[], { timeout }: Bounds): Promise<Map<string, Outcome>> {
    const call: Bounds = { timeout, urgent: true };
    const kept = await this.#etcd.call("leaseKeepAlive", { ID: this.#id }, call);
    if (kept.ID !== this.#id) throw EtcdError.unreadable("the renewal of another lease");
    if (Number(kept.TTL) <= 0) return await this.#mourn(kept.header, call);
    const places = claims.flatMap(({ id }) => this.#places.get(id) ?? []);
    const held = places.filter(({ held }) => held);
    const waiting = places.filter(({ held }) => !held);
    const [attached, { outcomes, replies }] = await Promise.all([
      // Those that this would have told of are looked at by themselves.
      held.length === 0
        ? undefined
        : this.#etcd.call("leaseTimeToLive", { ID: this.#id, keys: true }, call).catch(() => undefined),
      this.#standings(waiting, call),
    ]);
    sameTerm([kept, ...replies, ...(attached ? [attached] : [])].map(({ header }) => header));
    this.ttl = Math.min(this.ttl, Number(kept.TTL) * 1_000);
    for (const place of waiting) if (outcomes.get(place.claim.id)?.state === "gone") this.#buried.add(place);
    for (const place of this.#buried) void this.#bury(place, { timeout: BEHIND }).catch(() => {});
    const names = new Set(attached?.keys.map(String));
    // A claim whose name is not there is left out, and looked at by itself.
    for (const place of held) if (names.has(place.name)) outcomes.set(place.claim.id, place.grant());
    return outcomes;
  }

  async close(call: Call): Promise<void> {
    this.#end();
    await this.#port.call("leaseRevoke", { ID: this.#id }, call).catch((error) => {
      if (!isLeaseGone(error)) throw error; // gone is gone
    });
  }

  /** A member says that there is no such lease: then there is no key of it either. */
  async #mourn(header: Header, call: Bounds): Promise<Map<string, Outcome>> {
    const places = [...this.#places.values()];
    const { outcomes, replies } = await this.#standings(places, call);
    sameTerm([header, ...replies.map(({ header }) => header)]);
    if (!places.every(({ claim }) => outcomes.get(claim.id)?.state === "gone")) {
      throw new BackendError("Cannot renew the etcd lease: a member does not know it; ask again");
    }
    this.#lost();
    return new Map();
  }

  /** Enters, or finds that an earlier copy has. */
  async #enter(place: Place, call: Call): Promise<Outcome> {
    const { claim } = place;
    const marks = this.#marksOf(claim);
    let before = 1n;
    for (let round = 0; round < ROUNDS; round++) {
      const { epoch } = marks;
      const reply = await this.#send(place, txns.enter(place, marks, this.#id, before), call);
      const revision = BigInt(reply.header.revision);
      if (reply.succeeded) {
        place.created = revision;
        if (!claim.wait) return place.grant();
        const standing = place.standing(queueOf(found(reply, 1)), revision);
        if (standing !== undefined) return standing;
        throw EtcdError.unreadable("a queue without the one who has entered it");
      }
      if (this.#known(place, reply)) return await this.#look(place, call);
      await this.#learn(marks, reply, call);
      if (marks.epoch !== epoch) continue; // another claim was withdrawn at the same time
      if (claim.wait) throw EtcdError.unreadable("a refusal without a reason");
      // It was not to wait, and somebody is there. Beside readers or other permits it may still hold.
      if (claim.limit > 1) {
        const queue = [...queueOf(found(reply, 2)), claim];
        if (holders(queue) === queue.length) {
          before = revision + 1n;
          continue;
        }
      }
      await this.#bury(place, call); // nobody will release it
      return { state: "contended" };
    }
    throw tooBusy();
  }

  /** Takes the place of everyone: reads who is there, then removes them and enters in one step. */
  async #steal(place: Place, call: Call): Promise<Outcome> {
    const { claim } = place;
    const marks = this.#marksOf(claim);
    for (let round = 0; round < ROUNDS; round++) {
      const seen = await this.#etcd.call("txn", txns.look(marks, [txns.wholeQueue(claim.key)]), call);
      marks.learn(found(seen, 0));
      const notices = txns.noticesFor(claim, queueOf(found(seen, 1)));
      const reply = await this.#send(place, txns.steal(place, marks, this.#id, notices), call);
      if (reply.succeeded) {
        place.created = BigInt(reply.header.revision);
        return place.grant();
      }
      if (this.#known(place, reply)) return await this.#look(place, call);
      await this.#learn(marks, reply, call);
    }
    throw tooBusy();
  }

  /** Takes in the marks that an attempt has met. Somebody who cleans up may have deleted the epoch. */
  async #learn(marks: Marks, reply: TxnResponse, call: Call): Promise<void> {
    if (marks.learn(found(reply, 1))) return;
    const written = await this.#etcd.call("txn", txns.fence(marks, this.#id), call);
    marks.bumped(BigInt(written.header.revision));
  }

  /** How a claim stands that has entered. */
  async #look(place: Place, call: Call): Promise<Outcome> {
    const { outcomes } = await this.#standings([place], call);
    const outcome = outcomes.get(place.claim.id)!;
    if (outcome.state === "gone") await this.#bury(place, call);
    return outcome;
  }

  /** It is gone, and nobody will release it: no copy of an attempt may enter any more, now or later. */
  async #bury(place: Place, call: Bounds): Promise<void> {
    place.withdrawn = true;
    if (place.doubts > 0) {
      this.#buried.add(place); // until that is certain, each renewal tries it again
      await this.#withdraw(place, call);
    }
    this.#buried.delete(place);
    this.#drop(place);
  }

  #standings(places: readonly Place[], call: Bounds): Promise<Standings> {
    const [marks = this.#newMarks("holdfast")] = this.#marks.values(); // any will do to have read something
    return readStandings(this.#etcd, marks, places, call);
  }

  /** Sends an attempt. Until its answer is there, a copy of it may be under way. */
  async #send(place: Place, request: TxnRequest, call: Call): Promise<TxnResponse> {
    if (place.withdrawn || this.#ended) {
      throw new BackendError("Cannot enter the queue: the claim was withdrawn");
    }
    place.doubts++;
    try {
      const bounds = { timeout: call.timeout, doubt: () => place.doubts++ };
      const reply = await this.#etcd.call("txn", request, bounds);
      place.doubts--;
      return reply;
    } catch (error) {
      if (isLeaseGone(error)) await this.#mourned(call);
      if (error instanceof BackendError && !error.retryable && --place.doubts === 0) {
        this.#drop(place); // refused for good: there is nothing to release
      }
      if (error instanceof EtcdError && error.unsent) place.doubts--;
      throw error;
    }
  }

  /** Whether this has removed a claim; if it had to be repeated, absence is its success. */
  async #remove(request: TxnRequest, call: Bounds, epoch?: Marks): Promise<boolean> {
    let repeated = false;
    const { timeout } = call;
    const reply = await this.#etcd.call("txn", request, { timeout, doubt: () => repeated = true });
    epoch?.bumped(BigInt(reply.header.revision));
    return reply.succeeded || repeated;
  }

  async #withdraw(place: Place, call: Bounds): Promise<boolean> {
    const marks = this.#marksOf(place.claim);
    try {
      const removed = await this.#remove(txns.withdraw(place, marks, this.#id), call, marks);
      return removed && place.created !== undefined;
    } catch (error) {
      if (!isLeaseGone(error)) throw error;
      await this.#mourned(call);
      return false;
    }
  }

  /** Makes sure that the lease is gone: an error does not say whose it is, a renewal does. */
  async #mourned(call: Bounds): Promise<void> {
    if (!this.#ended) await this.renew([], call);
    if (!this.#ended) {
      throw new BackendError("Cannot use the etcd lease: a member does not know it; ask again");
    }
  }

  /** Whether an earlier copy has entered; `reply` answers an attempt that did not. */
  #known(place: Place, reply: TxnResponse): boolean {
    const own = found(reply, 0)[0];
    if (own !== undefined) place.created = BigInt(own.create_revision);
    return own !== undefined;
  }

  /** It is over. */
  #drop({ claim, n, doubts }: Place): void {
    this.#places.delete(claim.id);
    if (doubts === 0) this.#numbers.give(claim.key, n);
  }

  #marksOf({ key }: Claim): Marks {
    const prefix = prefixOf(key);
    let marks = this.#marks.get(prefix);
    if (marks === undefined) this.#marks.set(prefix, marks = this.#newMarks(prefix));
    this.#listen();
    return marks;
  }

  /** For notices, again after each failure: etcd can be reached, so it is worth a try. */
  #listen(): void {
    if (this.#ended) return;
    for (const marks of this.#marks.values()) marks.listen(this.#port);
  }

  #newMarks(prefix: string): Marks {
    return new Marks(prefix, this.#hex, this.#opened + 1n, (victims) => this.#robbed(victims));
  }

  /** A thief says that it has removed these. */
  #robbed(victims: ReadonlyMap<string, bigint>): void {
    for (const place of this.#places.values()) {
      if (place.stolen || place.created === undefined || victims.get(place.name) !== place.created) continue;
      place.stolen = true;
      void this.#bury(place, { timeout: BEHIND }).catch(() => {});
      this.#request.lost("stolen", place.claim.id);
    }
  }

  /** etcd has no such lease any more, and no key of it. */
  #lost(): void {
    if (this.#ended) return;
    this.#end();
    this.#request.lost("revoked");
  }

  #end(): void {
    this.#ended = true;
    this.#places.clear();
    this.#buried.clear();
    for (const marks of this.#marks.values()) marks.close();
  }
}

function tooBusy(): BackendError {
  return new BackendError("Cannot enter the queue: attempts of the same lease are withdrawn all the time");
}
