import type { Claim } from "../../internal/backend.ts";
import type { Vote } from "../../internal/errors.ts";
import { proposal } from "./ballots.ts";
import { nameOf } from "./names.ts";
import { failure, type Quorum, type Reply } from "./quorum.ts";
import { AHEAD, ANSWER } from "./scripts.ts";

/** Milliseconds after which a waiter asks again at the latest: it may have been told nothing. */
const RECHECK = 1_000;

/** How a vote went. */
export type Tally =
  | { readonly result: "granted" }
  | { readonly result: "stolen" }
  | { readonly result: "raise"; readonly ballot: number }
  /** Too many nodes have lost their memory: after so many milliseconds there can be a majority again. */
  | { readonly result: "excluded"; readonly back: number }
  /** `split`: somebody was about to have it, perhaps ourselves. */
  | { readonly result: "contended"; readonly taken: number; readonly split: boolean };

/** There is a majority. */
export const GRANTED: Tally = { result: "granted" };

/** What it means that there can be no majority any more. */
export function defeat(
  replies: readonly Reply<number[]>[],
  missing: number,
  quorum: Quorum,
  claim: Claim,
): Tally {
  const votes = replies.map(voteOf);
  const of = (answer: Vote["answer"]) => votes.filter((vote) => vote.answer === answer).length;
  const granted = of("granted");
  const answers = replies.filter((reply) => "value" in reply).map(({ value }) => value);
  const excess = of("failed") + of("excluded") - (quorum.nodes.length - quorum.majority);
  if (excess > 0) {
    // Somebody may hold it whom these nodes have forgotten. That ends by itself: who waits for a holder waits for this.
    const back = answers.filter(([answer]) => answer === ANSWER.excluded).map(([, ms]) => ms!).sort((a, b) =>
      a - b
    );
    if (claim.wait && back.length >= excess) return { result: "excluded", back: back[excess - 1]! };
    throw quorum.missed(`acquire lock ${nameOf(claim)}`, votes);
  }
  if (answers.some(([answer]) => answer === ANSWER.stolen)) return { result: "stolen" };
  // A node whose clock is far ahead can be had with a ballot that no other accepts: not at all, that is.
  const most = proposal(quorum, 0) + AHEAD;
  const low = answers.filter(([answer, better]) => answer === ANSWER.ballot && better! <= most)
    .map(([, better]) => better!);
  if (low.length > 0 && granted + low.length + missing >= quorum.majority) {
    return { result: "raise", ballot: Math.max(...low) };
  }
  const taken = answers.filter(([answer]) => answer === ANSWER.refused).map(([, ms]) => ms!);
  return { result: "contended", taken: Math.max(0, ...taken), split: granted + low.length > 0 };
}

function voteOf(reply: Reply<number[]>): Vote {
  if ("error" in reply) return failure(reply);
  const node = reply.node.place;
  const [answer, ms] = reply.value;
  if (answer === ANSWER.excluded) {
    return { node, answer: "excluded", error: new Error(`for another ${ms! / 1_000} s`) };
  }
  return { node, answer: answer === ANSWER.granted ? "granted" : "refused" };
}

/** Losers of a split vote try again soon, each after a time of its own; others wait for the holder. */
export function recheck(tally: Tally, losses: number): number {
  if (tally.result === "excluded") return tally.back + Math.random() * 50;
  const most = tally.result === "contended" && !tally.split
    ? Math.min(RECHECK, tally.taken + 1)
    : Math.min(RECHECK, 10 * 2 ** losses);
  return most * (0.5 + Math.random() / 2);
}
