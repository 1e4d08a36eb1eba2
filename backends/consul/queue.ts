import type { Entry } from "../../internal/backend.ts";
import { holders } from "../../internal/queue.ts";
import { decodeValue, type Pair } from "./api.ts";
import { described, parse, type Parsed } from "./names.ts";

/** A claim as the store has it. */
export interface Contender extends Parsed {
  /** Its full name in the store. */
  readonly name: string;
  readonly session: string;
  /** Id of its manager. */
  readonly client: string;
  /** The store's index when it entered: its place in the queue, and its fencing token. */
  readonly token: number;
  /** The store's index when it was last changed. */
  readonly changed: number;
}

/** Claims of one key in queue order. What no session holds is no claim: nothing would ever remove it. */
export function parseQueue(root: string, pairs: readonly Pair[]): Contender[] {
  const queue: Contender[] = [];
  for (const { Key, Session, Value, CreateIndex, ModifyIndex } of pairs) {
    const parsed = Session === undefined || Value === null ? undefined : parse(root, Key);
    if (parsed === undefined) continue;
    const client = decodeValue(Value);
    queue.push({ ...parsed, name: Key, session: Session!, client, token: CreateIndex, changed: ModifyIndex });
  }
  return queue.sort((a, b) => a.token - b.token);
}

/** What `inspect()` and `query()` show, of any number of keys. */
export function entriesOf(root: string, pairs: readonly Pair[]): Entry[] {
  const metadata = new Map<string, string>();
  for (const { Key, Value } of pairs) {
    const id = described(root, Key);
    if (id !== undefined) metadata.set(id, decodeValue(Value));
  }
  const queues = Map.groupBy(parseQueue(root, pairs), ({ key }) => key);
  return [...queues.values()].flatMap((queue) => {
    const held = holders(queue);
    return queue.map(({ key, id, client, limit, token }, index): Entry => ({
      key,
      id,
      client,
      mode: limit === Infinity ? "shared" : "exclusive",
      limit,
      metadata: metadata.get(id),
      held: index < held,
      ...(index < held && { token: BigInt(token) }),
    }));
  });
}
