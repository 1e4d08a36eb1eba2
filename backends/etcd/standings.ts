import type { Gone, Outcome } from "../../internal/backend.ts";
import type { Marks } from "./marks.ts";
import type { TxnResponse } from "./messages.ts";
import { type Place, queueOf } from "./place.ts";
import type { Bounds, Port } from "./port.ts";
import { found } from "./requests.ts";
import * as txns from "./txns.ts";

/** Queues read in one transaction, which may have 128 operations. */
const BATCH = 100;

/** What linearizable reads say of some claims, and the answers it came in: at least one. */
export interface Standings {
  readonly outcomes: Map<string, Outcome>;
  readonly replies: readonly TxnResponse[];
}

/**
 * How claims stand that have entered. The claims of one key are looked at together. What could not be
 * read is left out.
 *
 * @throws {EtcdError} If nothing could be read.
 */
export async function readStandings(
  etcd: Pick<Port, "call">,
  marks: Marks,
  places: readonly Place[],
  call: Bounds,
): Promise<Standings> {
  const queues = [...Map.groupBy(places, ({ claim }) => claim.key)].map(([key, places]) => ({
    places,
    range: places.length > 1 ? txns.wholeQueue(key) : txns.queueFor(places[0]!),
  }));
  const outcomes = new Map<string, Outcome>();
  const read = await Promise.allSettled(
    batches(queues).map(async (batch) => {
      const reply = await etcd.call("txn", txns.look(marks, batch.map(({ range }) => range)), call);
      marks.learn(found(reply, 0));
      for (const [index, { places }] of batch.entries()) {
        const queue = queueOf(found(reply, index + 1));
        for (const place of places) {
          outcomes.set(place.claim.id, place.standing(queue, BigInt(reply.header.revision)) ?? gone(place));
        }
      }
      return reply;
    }),
  );
  const replies = read.flatMap((each) => each.status === "fulfilled" ? [each.value] : []);
  const [first] = read;
  if (replies.length === 0 && first?.status === "rejected") throw first.reason;
  return { outcomes, replies };
}

function gone({ stolen }: Place): Gone {
  return { state: "gone", why: stolen ? "stolen" : "revoked" };
}

/** At least one, if an empty one. */
function batches<T>(items: readonly T[]): T[][] {
  const all = [items.slice(0, BATCH)];
  for (let at = BATCH; at < items.length; at += BATCH) all.push(items.slice(at, at + BATCH));
  return all;
}
