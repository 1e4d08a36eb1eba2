import type { Queued } from "../shared/own_claim.ts";
import { decodeValue, type Pair } from "./client/kv.ts";
import { parse, type Parsed } from "./names.ts";

/** A claim as the store has it. */
export interface ConsulQueued extends Parsed, Queued {
  readonly session: string;
  /** Id of its manager. */
  readonly client: string;
  /** The store's index when it entered: its place in the order, and its fencing token. */
  readonly token: number;
  /** The store's index when it was last changed. */
  readonly changed: number;
}

/** Claims of any keys in queue order. What no session holds is no claim: nothing would ever remove it. */
export function queueOf(root: string, pairs: readonly Pair[]): ConsulQueued[] {
  const queue: ConsulQueued[] = [];
  for (const { Key, Session, Value, CreateIndex, ModifyIndex } of pairs) {
    const parsed = Session === undefined || Value === null ? undefined : parse(root, Key);
    if (parsed === undefined) continue;
    const client = decodeValue(Value);
    queue.push({ ...parsed, name: Key, session: Session!, client, token: CreateIndex, changed: ModifyIndex });
  }
  return queue.sort((a, b) => a.token - b.token);
}
