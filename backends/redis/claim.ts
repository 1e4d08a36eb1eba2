import type { Claim, Outcome } from "../../internal/backend.ts";
import type { AwaitsDeparture } from "../shared/departure.ts";

/** The lease of a claim, as far as messages are for it. */
export interface Hears {
  /** A message about a claim. */
  hear(own: OwnClaim, news: Outcome): void;
}

/** What this process knows of one of its claims. */
export interface OwnClaim extends AwaitsDeparture<Outcome | void> {
  readonly lease: Hears;
  readonly claim: Claim;
  /** Attempts without an answer, and the server time at which the last of them is refused. */
  doubts: number;
  latest: number;
  /** The server time until which they may enter: a second place must not follow the first, lost or not. */
  until: number | undefined;
  /** Attempts whose answer is awaited now. */
  asking: number;
  /** Whether the claim's place, as far as known, does not hold yet. */
  waiting: boolean;
  /** What a message has said, and how many calls had been sent when it came. */
  told: Outcome | undefined;
  toldAfter: number;
  /** No call has taken the message yet. */
  news: boolean;
  /** Messages may have been missed since the last attempt. */
  missed: boolean;
}

/** A claim that was never sent. */
export function ownClaim(lease: Hears, claim: Claim): OwnClaim {
  return {
    lease,
    claim,
    doubts: 0,
    latest: 0,
    until: undefined,
    asking: 0,
    waiting: false,
    told: undefined,
    toldAfter: 0,
    news: false,
    missed: false,
    wake: undefined,
  };
}

/**
 * What the answer to a call says of a claim, unless a message that overtook the answer knows better. `sent`: the
 * number of the call. The own claim says so from here on.
 */
export function accept(own: OwnClaim, answer: Outcome, sent: number): Outcome {
  const { told } = own;
  const overtaken = told !== undefined && sent <= own.toldAfter &&
    (told.state === "gone" || answer.state === "contended");
  const outcome = overtaken ? told : answer;
  own.news = false;
  own.waiting = outcome.state === "contended" && own.claim.wait;
  return outcome;
}
