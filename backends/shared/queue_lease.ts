import type {
  Attempt,
  Call,
  Claim,
  Gone,
  Lease,
  LeaseRequest,
  LossReason,
  Outcome,
} from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { holders, watched } from "../../internal/queue.ts";
import { heldAlone, type Kept, type OwnClaim, OwnClaims, type Queued } from "./own_claim.ts";
import type { Ears, Found, Queues } from "./queues.ts";

const GONE: Gone = { state: "gone", why: "revoked" };

/** Milliseconds for a call that no caller waits for. */
const BEHIND = 3_000;

/**
 * A lease over ordered queues, whatever store they are in: who stands where, which attempts are in doubt, what was
 * withdrawn, and which claims have to be kept out of the queue that they have left.
 *
 * The danger is an attempt whose answer never came. It may enter later, when its claim is over; and under a lease that
 * lives on, nothing would ever remove what it leaves. So attempts are counted before they are sent and counted off
 * when they are answered; a claim of which some are left is not over before the store keeps them out (its fence).
 */
export class QueueLease<Q extends Queued> implements Lease, Ears<Q> {
  readonly #request: LeaseRequest;
  readonly #queues: Queues<Q>;
  readonly #claims = new OwnClaims<Q>();
  /** Claims that are over, and of which attempts may yet arrive: each renewal tries again to keep them out. */
  readonly #unfinished = new Set<Kept<Q>>();
  /** Claims that were released before an attempt of theirs was answered: one may be asked for late. */
  readonly #released = new Set<string>();
  /** No more attempts: the lease was closed, or the store has ended it. */
  #ended = false;
  /** The store has said that it has no entry of the lease any more. */
  #gone = false;
  /** That was found out by calls that failed, and were not answered by it. */
  #failed = false;

  /** `open` makes the adapter, which may speak from then on. */
  constructor(request: LeaseRequest, open: (ears: Ears<Q>) => Queues<Q>) {
    this.#request = request;
    this.#queues = open(this);
  }

  get ttl(): number {
    return this.#queues.ttl;
  }

  async attempt(claim: Claim, call: Attempt): Promise<Outcome> {
    const own = this.#claims.get(claim.id) ?? this.#take(claim, call);
    if (own === undefined) return GONE;
    try {
      if (own.withdrawn || own.outcome?.state === "gone") return await this.#finish(own, call);
      const { token } = own;
      const found = token === undefined
        ? await this.#queues.enter(own, call, (attempt) => this.#send(own, attempt))
        : await this.#queues.read(own, call);
      const outcome = this.#standing(own, found, token);
      if (own.withdrawn || outcome.state === "granted" || outcome.state === "contended" && claim.wait) {
        return outcome;
      }
      // The core has asked again meanwhile: what that comes to must not be undone.
      call.signal.throwIfAborted();
      return await this.#finish(own, call);
    } catch (error) {
      if (this.#gone && !this.#failed) return GONE;
      if (own.token === undefined && own.doubts === 0) this.#drop(own); // nothing of it can be in the store
      throw error;
    }
  }

  async changed(claim: Claim, call: Call): Promise<Outcome | void> {
    const own = this.#claims.get(claim.id);
    if (own === undefined || own.ahead.length === 0) return;
    if (this.#queues.hearsOwn) return await this.#departure(own, own.ahead, call.signal);
    const { ahead, next } = own;
    // Whoever leaves from here need not be asked after.
    const mine = own.ahead.flatMap(({ name }) => this.#claims.named(name) ?? []);
    const others = own.ahead.filter(({ name }) => this.#claims.named(name) === undefined);
    if (mine.length === 0) return await this.#departure(own, others, call.signal);
    const stop = new AbortController();
    const signal = AbortSignal.any([call.signal, stop.signal]);
    try {
      const left = untilOneLeft(mine, signal).then((left) => {
        // A look that has come meanwhile knows of that end, and of whom the claim waits for now.
        if (left === undefined || own.ahead !== ahead) return;
        own.ahead = [];
        own.inherits = next && heldAlone(left);
      });
      return await (others.length > 0 ? Promise.race([left, this.#departure(own, others, signal)]) : left);
    } finally {
      stop.abort();
    }
  }

  async release(claim: Claim, call: Attempt): Promise<boolean> {
    if (!call.entered) this.#released.add(claim.id);
    const own = this.#claims.get(claim.id);
    if (own === undefined || this.#ended) return false;
    try {
      return await this.#leave(own, call);
    } catch (error) {
      if (this.#gone) return false;
      throw error;
    }
  }

  async renew(claims: readonly Claim[], call: Call): Promise<Map<string, Outcome>> {
    const owns = claims.flatMap(({ id }) => this.#claims.get(id) ?? []);
    const tokens = owns.map(({ token }) => token);
    const outcomes = new Map<string, Outcome>();
    if (!this.#gone) {
      const found = await this.#queues.renew(owns, call);
      for (const [at, own] of owns.entries()) {
        const said = found.get(own);
        if (said === undefined || own.withdrawn) continue;
        const outcome = this.#standing(own, said, tokens[at]);
        outcomes.set(own.claim.id, outcome);
        if (outcome.state === "gone") this.#finishBehind(own);
      }
    }
    if (this.#gone) return new Map(claims.map(({ id }) => [id, GONE]));
    for (const own of this.#unfinished) this.#finishBehind(own);
    return outcomes;
  }

  async close(call: Call): Promise<void> {
    this.#end();
    await this.#queues.close(call);
  }

  owned(): readonly OwnClaim<Q>[] {
    return this.#claims.values();
  }

  named(name: string): OwnClaim<Q> | undefined {
    return this.#claims.named(name);
  }

  ownedOn(key: string): readonly OwnClaim<Q>[] {
    return this.#claims.on(key);
  }

  lost({ claim: { id } }: OwnClaim<Q>, why: LossReason): void {
    const own = this.#claims.get(id);
    if (own === undefined || own.outcome?.state === "gone" || own.withdrawn) return;
    own.token = undefined;
    own.outcome = { state: "gone", why };
    this.#finishBehind(own);
    this.#request.told(own.outcome, id);
  }

  ended(why: LossReason, failure?: unknown): void {
    if (this.#ended) return;
    this.#gone = true;
    this.#failed = failure !== undefined;
    this.#end();
    this.#request.told({ state: "gone", why });
  }

  /** `undefined`: its one place has come and gone, or may not be taken any more. */
  #take(claim: Claim, { entered }: Attempt): Kept<Q> | undefined {
    return this.#ended || entered || this.#released.has(claim.id) ? undefined : this.#claims.add(claim);
  }

  /** See {@linkcode Send}. */
  async #send<T>(own: Kept<Q>, attempt: (doubt: () => void) => Promise<T>): Promise<T> {
    if (own.withdrawn || this.#ended) {
      throw new BackendError("Cannot enter the queue: the claim has been given up");
    }
    own.doubts++;
    try {
      const answer = await attempt(() => own.doubts++);
      own.doubts--;
      return answer;
    } catch (error) {
      if (hadNoEffect(error)) own.doubts--;
      throw error;
    }
  }

  /** What the queue rule makes of what was found when the claim's entry was asked about that has this token. */
  #standing(own: Kept<Q>, found: Found<Q>, token: bigint | undefined): Outcome {
    const isView = !("state" in found);
    if (isView) {
      // Of two entries that attempts have made one after the other, the first was taken out.
      if (own.token !== undefined && found.token < own.token) return own.outcome ?? GONE;
      this.#claims.name(own, found.queue.at(-1)!.name);
      own.token = found.token;
    }
    // Nothing that was under way changes the end of a claim.
    if (own.withdrawn || own.outcome?.state === "gone") return own.outcome ?? GONE;
    if (isView) this.#line(own, found.queue);
    const outcome = !isView
      ? found
      : own.ahead.length > 0
      ? contended(own.ahead)
      : { state: "granted", token: found.token } as const;
    if (outcome.state === "gone") {
      if (own.token === token) own.token = undefined;
    } else if (outcome.state === "granted") {
      own.ahead = [];
      this.#queues.held?.(own);
    }
    return own.outcome = outcome;
  }

  /** Whom the claim waits for, and what their departure would mean. */
  #line(own: Kept<Q>, queue: readonly Q[]): void {
    own.ahead = watched(queue, queue.length - 1);
    const [last] = own.ahead; // the only one, if that holds alone
    const behind = last === undefined ? [] : queue.slice(queue.lastIndexOf(last) + 1);
    own.next = holders(behind) === behind.length;
  }

  async #departure(own: Kept<Q>, others: readonly Q[], signal: AbortSignal): Promise<Outcome | void> {
    if (signal.aborted) return;
    const { ahead, token } = own;
    const found = await this.#queues.departure(own, others, signal);
    if (own.withdrawn) return;
    if (typeof found === "boolean") {
      if (found && own.ahead === ahead) own.ahead = [];
      return;
    }
    const outcome = this.#standing(own, found, token);
    if (outcome.state === "gone") this.#finishBehind(own);
    return outcome;
  }

  /** Gives the claim up. Whether it was there; it is over once that has been confirmed. */
  async #leave(own: Kept<Q>, call: Call): Promise<boolean> {
    own.withdrawn = true;
    if (own.doubts > 0) own.fenced = true;
    const removed = (own.token !== undefined || own.doubts > 0) && await this.#queues.leave(own, call);
    this.#drop(own);
    return removed;
  }

  /** The core does not release what was taken out, or does not wait: here it is seen to that nothing is left of it. */
  async #finish(own: Kept<Q>, call: Call): Promise<Outcome> {
    this.#unfinished.add(own);
    await this.#leave(own, call);
    const { outcome = GONE } = own;
    return outcome.state === "granted" ? GONE : outcome; // what was held had been released
  }

  #finishBehind(own: Kept<Q>): void {
    this.#finish(own, { signal: AbortSignal.timeout(BEHIND), timeout: BEHIND }).catch(() => {});
  }

  /** The claim is not in the store, and cannot get there any more. */
  #drop(own: Kept<Q>): void {
    this.#unfinished.delete(own);
    this.#claims.drop(own);
  }

  #end(): void {
    this.#ended = true;
    for (const own of this.#claims.values()) this.#drop(own);
  }
}

/** Resolves with one of our own claims when it is over; with `undefined` when the signal aborts. */
function untilOneLeft(
  claims: readonly Kept<Queued>[],
  signal: AbortSignal,
): Promise<OwnClaim | undefined> {
  return new Promise((resolve) => {
    const end = (left?: OwnClaim) => {
      for (const own of claims) own.waiting?.delete(end);
      resolve(left);
    };
    if (signal.aborted) return resolve(undefined);
    signal.addEventListener("abort", () => end(), { once: true });
    for (const own of claims) (own.waiting ??= new Set()).add(end);
  });
}

function contended(ahead: readonly Queued[]): Outcome {
  const recheck = Math.min(...ahead.map(({ remaining = Infinity }) => remaining));
  return recheck === Infinity ? { state: "contended" } : { state: "contended", recheck };
}

/** What is refused for good, and what was not even sent, cannot arrive later. */
function hadNoEffect(error: unknown): boolean {
  return error instanceof BackendError && !error.retryable ||
    (error as { unsent?: unknown } | undefined)?.unsent === true;
}
