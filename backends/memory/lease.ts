import type {
  Attempt,
  Claim,
  Contended,
  Gone,
  Lease,
  LeaseRequest,
  LossReason,
  Outcome,
} from "../../internal/backend.ts";
import type { Owner, Place, Queues } from "./queues.ts";

/** Claims that one manager keeps alive. */
export class MemoryLease implements Lease, Owner {
  readonly ttl: number;
  readonly #queues: Queues;
  readonly #request: LeaseRequest;
  /** Claims that ran out, or that a thief removed, and whose owner has not been told. */
  readonly #dropped = new Map<string, LossReason>();
  /** Claims withdrawn before their attempt was answered: a late copy of it must not enter. */
  readonly #withdrawn = new Set<string>();
  #closed = false;

  constructor(queues: Queues, request: LeaseRequest) {
    this.ttl = request.ttl;
    this.#queues = queues;
    this.#request = request;
  }

  attempt(claim: Claim, { entered }: Attempt): Promise<Outcome> {
    let place = this.#queues.find(claim);
    if (place !== undefined) {
      place.expires = this.#queues.clock.now() + this.ttl;
    } else {
      if (entered || this.#closed || this.#withdrawn.has(claim.id)) {
        return Promise.resolve(this.#gone(claim));
      }
      place = this.#queues.enter(claim, this);
    }
    return Promise.resolve(place === undefined ? CONTENDED : this.#standing(place));
  }

  changed(claim: Claim): Promise<Outcome> {
    const place = this.#queues.find(claim);
    if (place === undefined) return Promise.resolve(this.#gone(claim));
    if (place.held) return Promise.resolve(place.grant);
    return new Promise((resolve) => place.wake = resolve);
  }

  release(claim: Claim, { entered }: Attempt): Promise<boolean> {
    if (!entered) this.#withdrawn.add(claim.id);
    const removed = this.#queues.leave(claim);
    this.#dropped.delete(claim.id);
    return Promise.resolve(removed);
  }

  renew(claims: readonly Claim[]): Promise<Map<string, Outcome>> {
    const found = claims.map((claim) => {
      const place = this.#queues.find(claim);
      // At once: the search for the next may find that this one's time is over.
      if (place !== undefined) place.expires = this.#queues.clock.now() + this.ttl;
      return { claim, place };
    });
    for (const key of new Set(claims.map(({ key }) => key))) this.#queues.remeasure(key);
    const outcomes = new Map<string, Outcome>();
    for (const { claim, place } of found) {
      outcomes.set(claim.id, place === undefined ? this.#gone(claim) : this.#standing(place));
    }
    return Promise.resolve(outcomes);
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#queues.end(this);
    return Promise.resolve();
  }

  /** This place is gone. A robbed holder learns it now, everybody else by the next question. */
  dropped({ held, claim }: Place, why: LossReason): void {
    if (held && why === "stolen") this.#request.told({ state: "gone", why }, claim.id);
    else this.#dropped.set(claim.id, why);
  }

  #standing(place: Place): Outcome {
    return place.held ? place.grant : { state: "contended", recheck: this.#queues.recheck(place) };
  }

  #gone({ id }: Claim): Gone {
    const why = this.#dropped.get(id) ?? "revoked";
    this.#dropped.delete(id);
    return { state: "gone", why };
  }
}

/** The answer to a claim that does not wait. */
const CONTENDED: Contended = { state: "contended" };
