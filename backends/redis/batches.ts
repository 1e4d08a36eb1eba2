import type { Claim } from "../../internal/backend.ts";

/** How many claims one renewal call names, and how many of them of one key: Redis serves nobody else meanwhile. */
const BATCH = 400;
const QUEUE = 256;

/** Claims by key, at most so many in a batch. In a Cluster a batch is one key: two may not share a slot. */
export function* batches(claims: readonly Claim[], cluster: boolean): Generator<Map<string, Claim[]>> {
  let batch = new Map<string, Claim[]>();
  let size = 0;
  for (const claim of cluster ? [...claims].sort(byKey) : claims) {
    if (
      size >= BATCH || cluster && size > 0 && !batch.has(claim.key) || batch.get(claim.key)?.length === QUEUE
    ) {
      yield batch;
      batch = new Map();
      size = 0;
    }
    const same = batch.get(claim.key);
    if (same) same.push(claim);
    else batch.set(claim.key, [claim]);
    size++;
  }
  if (size > 0) yield batch;
}

function byKey(a: Claim, b: Claim): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
