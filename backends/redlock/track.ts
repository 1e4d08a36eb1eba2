import type { Claim } from "../../internal/backend.ts";
import type { RedlockLease } from "./lease.ts";
import type { Node } from "./node.ts";
import type { Waiter } from "./waiters.ts";

/** What this process knows of one of its claims. */
export interface Track extends Waiter {
  readonly lease: RedlockLease;
  readonly claim: Claim;
  /** The greatest ballot proposed for it. */
  ballot: number;
  /** The ballot that won. */
  token: number | undefined;
  /** The attempt in progress; there is one at a time. */
  attempt: Promise<unknown> | undefined;
  /** Given up: no more ballots. */
  withdrawn: boolean;
  /** How often it lost in a row, which makes it slower. */
  losses: number;
  /** Nodes that may have voted for it, or may yet. */
  readonly asked: Set<Node>;
  /** Nodes that have told of a theft. */
  readonly robbed: Set<Node>;
}
