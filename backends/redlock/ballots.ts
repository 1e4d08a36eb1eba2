import type { Quorum } from "./quorum.ts";
import { AHEAD } from "./scripts.ts";

/** Microseconds by which a proposal is ahead of the nodes' clocks: it may travel for that long. */
const LEAD = 1_000_000;

/**
 * A ballot for all nodes. It comes from the nodes' own clocks, never from ours: ours may be an hour
 * ahead, and a number that no clock reaches would keep everybody out. A majority of them must accept
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
