import type { Entry } from "../../internal/backend.ts";
import { BackendError } from "../../internal/errors.ts";
import { list, text, whole } from "../redis/replies.ts";

/** What one node replied to a listing, by key: six fields for each vote. */
export type NodeVotes = Map<string, readonly string[]>;

/**
 * What a node replied for one key, if it is that.
 *
 * @throws {BackendError} if it is something else
 */
export function fields(reply: unknown): readonly string[] {
  const all = list(reply, 0);
  if (all.length % 6 !== 0) throw new BackendError("Cannot make sense of the votes that Redis replied");
  return all.map((field, at) => at % 6 >= 1 && at % 6 <= 3 ? `${whole(field)}` : text(field));
}

/** The votes for one claim with one ballot. */
interface Candidate {
  readonly entry: Entry;
  /** Milliseconds left, at each node. */
  readonly left: number[];
}

/**
 * Who holds: the claims that a majority has voted for, or may have, as far as nodes that failed can
 * make the difference. `undefined` while the nodes that are `missing` can.
 */
export function entries(
  all: readonly NodeVotes[],
  quorum: number,
  missing: number,
  failed: number,
): Entry[] | undefined {
  const found: Entry[] = [];
  for (const { entry, left } of candidates(all)) {
    if (left.length < quorum && missing > 0 && left.length + missing + failed >= quorum) return undefined;
    if (left.length + failed < quorum) continue;
    const remaining = left.sort((a, b) => b - a)[Math.min(quorum, left.length) - 1]!;
    found.push({ ...entry, remaining: Math.max(0, remaining) });
  }
  return found.sort((a, b) => a.token! < b.token! ? -1 : 1);
}

function candidates(all: readonly NodeVotes[]): Candidate[] {
  const byClaim = new Map<string, Candidate>();
  for (const [key, fields] of all.flatMap((votes) => [...votes])) {
    for (let at = 0; at < fields.length; at += 6) {
      const [id, ballot, left, limit, client, metadata] = fields.slice(at, at + 6) as [
        ...[id: string, ballot: string, left: string, limit: string, client: string, metadata: string],
      ];
      const name = `${key} ${id} ${ballot}`;
      const entry: Entry = {
        key,
        id,
        client,
        mode: Number(limit) === 0 ? "shared" : "exclusive",
        limit: Number(limit) || Infinity,
        metadata: metadata || undefined,
        held: true,
        token: BigInt(ballot),
      };
      const candidate = byClaim.get(name) ?? { entry, left: [] };
      byClaim.set(name, candidate);
      candidate.left.push(Number(left));
    }
  }
  return [...byClaim.values()];
}
