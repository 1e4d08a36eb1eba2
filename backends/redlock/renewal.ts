import type { Call, Outcome } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import type { RedlockLease } from "./lease.ts";
import { votesKey } from "./names.ts";
import type { Node } from "./node.ts";
import { failures, type Reply } from "./quorum.ts";
import { MEMORY, RENEW } from "./scripts.ts";
import type { Track } from "./track.ts";

/** Renews the votes for some locks at all nodes, in one call to each, and says what is known of each lock. */
export async function renewVotes(
  lease: RedlockLease,
  held: readonly Track[],
  outcomes: Map<string, Outcome>,
  call: Call,
): Promise<void> {
  const { quorum, maxTtl } = lease.backend;
  const { majority, nodes } = quorum;
  const byKey = Map.groupBy(held, ({ claim }) => claim.key);
  const ordered = [...byKey.values()].flat();
  const keys = [MEMORY, ...[...byKey.keys()].map(votesKey)];
  const named = [...byKey.values()].flatMap((tracks) => [
    tracks.length,
    ...tracks.flatMap(({ claim, token }) => [claim.id, token!]),
  ]);
  const ask = async (node: Node) => {
    const reply = await node.run(RENEW, keys, (run) => [lease.ttl, run, maxTtl, ...named], 0, call);
    // The time alone, if the node stays out.
    if (reply.length === 1 || reply.length === 1 + ordered.length) return reply;
    throw new BackendError("Cannot make sense of the renewal that Redis replied");
  };
  const replies = await quorum.poll(call, ask, (replies, missing) => {
    const known = ordered.every((_, index) => {
      const { there } = standing(replies, index);
      return there >= majority || there + missing < majority;
    });
    return known || missing === 0 ? replies : undefined;
  });
  ordered.forEach((track, index) => {
    const { there, missing, stolen } = standing(replies, index);
    if (there >= majority) {
      outcomes.set(track.claim.id, { state: "granted", token: BigInt(track.token!) });
      for (const node of free(replies, index)) lease.adopt(track, node, call).catch(() => {});
    } else if (missing > nodes.length - majority) {
      outcomes.set(track.claim.id, { state: "gone", why: stolen > 0 ? "stolen" : "revoked" });
      lease.backend.forget(track);
      // What is left of it must not keep others out.
      for (const node of track.asked) lease.retract(track, node, call).catch(() => {});
    }
  });
  if (replies.length - failures(replies).length < majority) throw quorum.missed("renew", failures(replies));
}

/** What the replies to a renewal say of one claim: votes that are there, surely missing, and of these stolen. */
function standing(replies: readonly Reply<number[]>[], index: number) {
  let there = 0, missing = 0, stolen = 0;
  for (const reply of replies) {
    if ("error" in reply) continue;
    const answer = reply.value[index + 1];
    if (answer === 1) there++;
    else missing++;
    if (answer === -1) stolen++;
  }
  return { there, missing, stolen };
}

/** The nodes that have no vote for a claim, though they could have one. */
function free(replies: readonly Reply<number[]>[], index: number): Node[] {
  return replies.filter((reply) => "value" in reply && reply.value[index + 1] === 0).map(({ node }) => node);
}
