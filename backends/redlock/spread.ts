import { clearTimeout, setTimeout } from "node:timers";
import type { Call } from "../../internal/backend.ts";
import type { OwnClaim, OwnClaims } from "./claim.ts";
import type { Quorum } from "./client/quorum.ts";
import type { Votes } from "./votes.ts";

/** Milliseconds that a lock is held before it is worth more than a bare majority. */
const SOON = 20;
/**
 * By how much longer a node is left alone each time it has not voted: it may be away, or have voted for the next in
 * line, which takes its vote back in a moment.
 */
const LONGER = 10;
/** How long a node may take. */
const CALL: Call = { signal: new AbortController().signal, timeout: 1_000 };

/**
 * Locks that have the votes of a bare majority, and would be lost with one node of it. Most are released
 * within moments; those that are not are brought to the other nodes, again and again until a renewal does that.
 */
export class Spread {
  readonly #quorum: Quorum;
  readonly #claims: OwnClaims;
  readonly #votes: Votes;
  /** Locks of the last moment, for which one timer is set. */
  #granted: OwnClaim[] | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(quorum: Quorum, claims: OwnClaims, votes: Votes) {
    this.#quorum = quorum;
    this.#claims = claims;
    this.#votes = votes;
  }

  /** A lock that has just been granted. */
  add(own: OwnClaim): void {
    if (this.#everywhere(own)) return;
    if (this.#granted === undefined) this.#later(this.#granted = [], SOON, performance.now());
    this.#granted.push(own);
  }

  /** Nothing is to be done any more. */
  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#granted = undefined;
  }

  #everywhere({ voted }: OwnClaim): boolean {
    return voted.size === this.#quorum.nodes.length;
  }

  /** Brings locks that were granted at some time to the nodes that are without, after a delay. */
  #later(granted: OwnClaim[], delay: number, since: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#granted === granted) this.#granted = undefined;
      void this.#bring(granted, delay, since);
    }, delay);
    timer.unref(); // a lock that is held keeps the process alive, not this
    this.#timers.add(timer);
  }

  async #bring(granted: readonly OwnClaim[], delay: number, since: number): Promise<void> {
    const { nodes } = this.#quorum;
    const age = performance.now() - since;
    // A lock may be over by now, and not known to be.
    const held = granted.filter((own) =>
      age < own.request.ttl && !own.withdrawn && this.#claims.get(own.claim.id) === own
    );
    await Promise.allSettled(
      held.flatMap((own) =>
        nodes.filter((node) => !own.voted.has(node)).map((node) => this.#votes.adopt(own, node, CALL))
      ),
    );
    // By then a renewal has been at all nodes.
    const missing = held.filter((own) => !this.#everywhere(own) && LONGER * delay < own.request.ttl / 3);
    if (missing.length > 0) this.#later(missing, LONGER * delay, since);
  }
}
