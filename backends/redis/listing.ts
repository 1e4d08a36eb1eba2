import type { Call } from "../../internal/backend.ts";
import type { Connection } from "./connection.ts";
import { queueKey } from "./names.ts";
import { list, numbers, text, unexpected, whole } from "./replies.ts";
import type { Script } from "./script.ts";

/** How many keys and how many claims one call reads: for less than a millisecond. */
export const PAGE = 50;

/** A claim in a queue. */
export interface Row {
  readonly key: string;
  /** See `queue.ts`. */
  readonly name: string;
  readonly token: number;
  /** Milliseconds. */
  readonly left: number;
  readonly metadata: string;
  readonly holds: boolean;
}

/** The claims of some keys, at most {@linkcode PAGE}, each queue in its order. In a Cluster of one. */
export async function* listing(
  connection: Connection,
  script: Script,
  keys: readonly string[],
  call: Call,
): AsyncGenerator<Row> {
  for (let at = 0, from = 0; at < keys.length;) {
    const some = keys.slice(at);
    const reply = await connection.run(script, [some.length, ...some.map(queueKey), from, PAGE], call);
    call.signal.throwIfAborted();
    const [more, next, ...queues] = list(reply, 1);
    if (whole(more) === 1) continue; // there was more to do first, of which this call has done a part
    if (queues.length === 0) throw unexpected(reply);
    for (const [n, claims] of queues.entries()) yield* rows(some[n]!, list(claims, 0));
    from = whole(next);
    at += queues.length - (from > 0 ? 1 : 0);
  }
}

function* rows(key: string, fields: unknown[]): Generator<Row> {
  for (let at = 0; at < fields.length; at += 5) {
    const [name, place, ends, metadata, holding] = list(fields.slice(at, at + 5), 5);
    const [token, left, holds] = numbers([place, ends, holding], 3) as [number, number, number];
    yield { key, name: text(name), token, left, metadata: text(metadata), holds: holds === 1 };
  }
}
