import type { Claim, LeaseRequest, Outcome } from "../../internal/backend.ts";
import type { Node } from "./client/node.ts";
import type { Waiter, Waiters } from "./waiters.ts";

/** What this process knows of one of its claims. */
export class OwnClaim implements Waiter {
  readonly claim: Claim;
  /** Of the lease that the claim is under. */
  readonly request: LeaseRequest;
  /** The greatest ballot proposed for it. */
  ballot = 0;
  /** The ballot that won. */
  token: number | undefined;
  /** The attempt in progress; there is one at a time. */
  attempt: Promise<Outcome> | undefined;
  /** Given up: no more ballots. */
  withdrawn = false;
  /** How often it lost in a row, which makes it slower. */
  losses = 0;
  /** Nodes that may have voted for it, or may yet. */
  readonly asked: Set<Node> = new Set();
  /** Nodes that are known to have voted for it, with its last ballot. */
  readonly voted: Set<Node> = new Set();
  /** Nodes that have told of a theft. */
  readonly robbed: Set<Node> = new Set();
  wake: (() => void) | undefined;
  called = false;

  constructor(claim: Claim, request: LeaseRequest) {
    this.claim = claim;
    this.request = request;
  }
}

/** The claims of this process that were sent and are not known to be over, by id. */
export class OwnClaims {
  readonly #byId = new Map<string, OwnClaim>();
  readonly #waiters: Waiters;

  constructor(waiters: Waiters) {
    this.#waiters = waiters;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): OwnClaim | undefined {
    return this.#byId.get(id);
  }

  /** What is known of a claim, from now on if nothing was. */
  of(claim: Claim, request: LeaseRequest): OwnClaim {
    const known = this.#byId.get(claim.id);
    if (known !== undefined) return known;
    const own = new OwnClaim(claim, request);
    this.#byId.set(claim.id, own);
    return own;
  }

  /** Those under one lease. */
  under(request: LeaseRequest): OwnClaim[] {
    return [...this.#byId.values()].filter((own) => own.request === request);
  }

  /** The claim is over. */
  drop(own: OwnClaim): void {
    const { id } = own.claim;
    if (this.#byId.get(id) === own) this.#byId.delete(id);
    this.#waiters.remove(own, false);
  }

  /**
   * A node tells of a theft, `stolen <id>`. The lock is lost once so many have told that no majority of
   * votes can be left.
   */
  robbed(node: Node, text: string, majority: number): void {
    const own = this.#byId.get(text.split(" ")[1]!);
    if (own?.token === undefined) return;
    own.robbed.add(node);
    if (own.asked.size - own.robbed.size >= majority) return;
    this.drop(own);
    own.request.told({ state: "gone", why: "stolen" }, own.claim.id);
  }

  /** Forgets them all: the connections are closed. */
  clear(): void {
    this.#byId.clear();
  }
}
