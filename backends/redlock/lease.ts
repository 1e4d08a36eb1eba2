import type { Attempt, Call, Claim, Lease, LeaseRequest, Outcome } from "../../internal/backend.ts";
import { recheck } from "./ballots.ts";
import type { OwnClaim, OwnClaims } from "./claim.ts";
import { type Quorum, Steps } from "./client/quorum.ts";
import { nameOf } from "./names.ts";
import type { Spread } from "./spread.ts";
import type { Votes } from "./votes.ts";
import type { Waiters } from "./waiters.ts";

/** How many claims one renewal call names. */
const BATCH = 400;
/** How often a ballot that was too low is raised within one attempt. */
const RAISES = 4;

/** What the leases of one backend share. */
export interface Shared {
  readonly quorum: Quorum;
  readonly claims: OwnClaims;
  readonly waiters: Waiters;
  readonly votes: Votes;
  /** What is to be brought to all nodes. */
  readonly spread: Spread;
}

/** The votes for many claims, kept alive together. */
export class RedlockLease implements Lease {
  readonly ttl: number;
  readonly #request: LeaseRequest;
  readonly #shared: Shared;

  constructor(request: LeaseRequest, shared: Shared) {
    this.ttl = request.ttl;
    this.#request = request;
    this.#shared = shared;
  }

  async attempt(claim: Claim, call: Attempt): Promise<Outcome> {
    const { claims, waiters } = this.#shared;
    // A claim that has entered is known here until it is over.
    if (call.entered && claims.get(claim.id) === undefined) return { state: "gone", why: "revoked" };
    const own = claims.of(claim, this.#request);
    const steps = new Steps(call);
    // A second attempt is answered by a question that is sent after it.
    let last: Outcome | void = undefined;
    while (own.attempt !== undefined) last = await own.attempt.catch(() => {});
    // What that has ended must not stand in line again: nobody would take it out.
    if (claims.get(claim.id) !== own) {
      return last?.state === "gone" ? last : { state: "gone", why: "revoked" };
    }
    own.called = false;
    const queues = own.token === undefined && !own.withdrawn && claim.wait && !claim.steal;
    if (queues && waiters.behind(own)) return { state: "contended" };
    const attempt = own.token === undefined ? this.#enter(own, steps) : this.#confirm(own, steps);
    own.attempt = attempt;
    try {
      const outcome = await attempt;
      waiters.asked(own);
      return outcome;
    } catch (error) {
      if (!own.withdrawn) waiters.asked(own, error);
      throw error;
    } finally {
      own.attempt = undefined;
    }
  }

  changed(claim: Claim, call: Call): Promise<void> {
    const own = this.#shared.claims.get(claim.id);
    return own === undefined ? Promise.resolve() : this.#shared.waiters.woken(own, call);
  }

  async release(claim: Claim, call: Call): Promise<boolean> {
    const { claims, waiters, votes } = this.#shared;
    const known = claims.get(claim.id);
    const own = claims.of(claim, this.#request);
    own.withdrawn = true;
    waiters.remove(own, false);
    if (known !== undefined && own.asked.size === 0) {
      claims.drop(own); // it stood behind others, and no node has heard of it
      return false;
    }
    const removed = await votes.retractAll(own, call);
    claims.drop(own);
    return removed;
  }

  async renew(claims: readonly Claim[], call: Call): Promise<Map<string, Outcome>> {
    const outcomes = new Map<string, Outcome>();
    const held: OwnClaim[] = [];
    for (const { id } of claims) {
      const own = this.#shared.claims.get(id);
      if (own?.token !== undefined) held.push(own);
      // A claim that waits has left nothing at the nodes that could be renewed.
      else if (own !== undefined && own.attempt === undefined) outcomes.set(id, { state: "contended" });
    }
    let failed: unknown;
    for (let at = 0; at < held.length; at += BATCH) {
      try {
        for (const [own, outcome] of await this.#renew(held.slice(at, at + BATCH), call)) {
          outcomes.set(own.claim.id, outcome);
        }
      } catch (error) {
        failed = error;
      }
    }
    if (failed !== undefined && outcomes.size === 0) throw failed;
    return outcomes;
  }

  async close(call: Call): Promise<void> {
    const mine = this.#shared.claims.under(this.#request);
    await Promise.all(mine.map(({ claim }) => this.release(claim, call)));
  }

  /** Stands for election, once, with as many ballots as that takes. */
  async #enter(own: OwnClaim, call: Call): Promise<Outcome> {
    const { claims, waiters, votes, spread } = this.#shared;
    for (let raises = 0, atLeast = 0;;) {
      const tally = await votes.ask(own, atLeast, call);
      if (tally.result === "granted" && !own.withdrawn) {
        own.token = own.ballot;
        own.losses = 0;
        waiters.remove(own, true);
        spread.add(own);
        return { state: "granted", token: BigInt(own.ballot) };
      }
      if (tally.result === "raise" && raises++ < RAISES && !own.withdrawn) {
        atLeast = tally.ballot;
        continue;
      }
      if (tally.result === "stolen" || own.withdrawn) {
        claims.drop(own);
        return { state: "gone", why: tally.result === "stolen" ? "stolen" : "revoked" };
      }
      if (!own.claim.wait) {
        claims.drop(own);
        return { state: "contended" };
      }
      // A vote that was taken back before we listened may have been what the claim waits for.
      if (await waiters.add(own, recheck(tally, own.losses++), call)) continue;
      return { state: "contended" };
    }
  }

  /** Asks after a lock that has been granted. */
  async #confirm(own: OwnClaim, call: Call): Promise<Outcome> {
    const outcome = (await this.#renew([own], call)).get(own);
    if (outcome !== undefined) return outcome;
    throw this.#shared.quorum.missed(`ask after lock ${nameOf(own.claim)}`, []);
  }

  async #renew(held: readonly OwnClaim[], call: Call): Promise<Map<OwnClaim, Outcome>> {
    const outcomes = await this.#shared.votes.renew(held, this.ttl, call);
    for (const [own, { state }] of outcomes) if (state === "gone") this.#shared.claims.drop(own);
    return outcomes;
  }
}
