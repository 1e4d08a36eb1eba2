import { clearTimeout, setTimeout } from "node:timers";
import type { Call } from "../../internal/backend.ts";
import type { OwnClaim, OwnClaims } from "./claim.ts";
import type { Quorum } from "./client/quorum.ts";
import type { Votes } from "./votes.ts";

/** Milliseconds that a lock is held before it is worth more than a bare majority. */
const SOON = 20;
/** How long a node may take. No answer is waited for: a renewal does what could not be done now. */
const CALL: Call = { signal: new AbortController().signal, timeout: 1_000 };

/**
 * Locks that have the votes of a bare majority, and would be lost with one node of it. Most are released
 * within moments; those that are not are brought to the other nodes.
 */
export class Spread {
  readonly #quorum: Quorum;
  readonly #claims: OwnClaims;
  readonly #votes: Votes;
  #granted: OwnClaim[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(quorum: Quorum, claims: OwnClaims, votes: Votes) {
    this.#quorum = quorum;
    this.#claims = claims;
    this.#votes = votes;
  }

  /** A lock that has just been granted. */
  add(own: OwnClaim): void {
    if (own.asked.size === this.#quorum.nodes.length) return;
    this.#granted.push(own);
    if (this.#timer !== undefined) return;
    const since = performance.now();
    this.#timer = setTimeout(() => this.#all(since), SOON);
    this.#timer.unref(); // a lock that is held keeps the process alive, not this
  }

  /** Nothing is to be done any more. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#granted = [];
  }

  #all(since: number): void {
    const granted = this.#granted;
    this.clear();
    const slept = performance.now() - since;
    for (const own of granted) {
      // The lock may be over by now, and not known to be.
      const over = slept >= own.request.ttl || own.withdrawn || this.#claims.get(own.claim.id) !== own;
      if (over) continue;
      for (const node of this.#quorum.nodes) {
        if (!own.asked.has(node)) this.#votes.adopt(own, node, CALL).catch(() => {});
      }
    }
  }
}
