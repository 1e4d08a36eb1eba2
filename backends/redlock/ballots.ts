/** How a ballot is made, and what the votes for one amount to. */
import type { Claim } from "../../internal/backend.ts";
import type { Vote } from "../../internal/errors.ts";
import { AHEAD } from "./client/memory.ts";
import { failure, type Quorum, type Reply } from "./client/quorum.ts";
import { nameOf } from "./names.ts";
import { ANSWER } from "./scripts.ts";

/** Microseconds by which a proposal is ahead of the nodes' clocks: it may travel for that long. */
const LEAD = 1_000_000;
/** Milliseconds after which a waiter asks again at the latest: it may have been told nothing. */
export const RECHECK = 1_000;

/** How a vote went. */
export type Tally =
  | { readonly result: "granted" }
  | { readonly result: "stolen" }
  | { readonly result: "raise"; readonly ballot: number }
  /** Too many nodes have lost their memory: after so many milliseconds there can be a majority again. */
  | { readonly result: "excluded"; readonly back: number }
  /** `split`: a claim was about to have it, perhaps our own. */
  | { readonly result: "contended"; readonly taken: number; readonly split: boolean };

/** There is a majority. */
export const GRANTED: Tally = { result: "granted" };

/**
 * A ballot for all nodes. It comes from the nodes' own clocks, never from ours: ours may be an hour
 * ahead, and a number that no clock reaches would keep every other claim out. A majority of them must accept
 * it, so it is ahead of a majority whose clocks are close to each other, the latest such.
 */
export function proposal({ nodes, majority }: Quorum, atLeast: number): number {
  const times = nodes.map((node) => node.serverTime).filter((time) => time !== undefined).sort((a, b) =>
    a - b
  );
  let time = times.at(-1) ?? 0;
  for (let last = times.length - 1; last >= majority - 1; last--) {
    if (times[last]! - times[last - majority + 1]! > AHEAD - LEAD) continue;
    time = times[last]!;
    break;
  }
  return Math.max(time + LEAD, atLeast);
}

/**
 * What it means that there can be no majority any more; `undefined` while the nodes that are missing decide whether the
 * others have it, or are away.
 *
 * @throws {QuorumError} if too many nodes have failed, or stay out for longer than the claim waits
 */
export function defeat(
  replies: readonly Reply<number[]>[],
  missing: number,
  quorum: Quorum,
  claim: Claim,
): Tally | undefined {
  const votes = replies.map(voteOf);
  const of = (answer: Vote["answer"]) => votes.filter((vote) => vote.answer === answer).length;
  const granted = of("granted");
  const answers = replies.filter((reply) => "value" in reply).map(({ value }) => value);
  const away = of("failed") + of("excluded");
  const excess = away - (quorum.nodes.length - quorum.majority);
  if (away > 0 && excess <= 0 && excess + missing > 0) return undefined;
  if (excess > 0) {
    // These nodes may have forgotten a holder. That ends by itself: who waits for a holder waits for this.
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

/** Losers of a split vote try again soon, each after a time of its own; others wait for the holder. Milliseconds. */
export function recheck(tally: Tally, losses: number): number {
  if (tally.result === "excluded") return tally.back + Math.random() * 50;
  const most = tally.result === "contended" && !tally.split
    ? Math.min(RECHECK, tally.taken + 1)
    : Math.min(RECHECK, 10 * 2 ** losses);
  return most * (0.5 + Math.random() / 2);
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
