/**
 * The one rule that grants everything. Claims of a key stand in one queue, in order of arrival.
 * A claim's limit is 1 (exclusive), n (semaphore) or Infinity (shared).
 *
 * > A claim holds iff the claims ahead of it number fewer than the smallest limit among it and them.
 *
 * Hence the holders are the front of the queue, and a grant stays valid whatever enters behind it.
 */

/** All the rule looks at. */
export interface Limited {
  /** How many may hold together with this claim. */
  readonly limit: number;
}

/** How many claims, from the front, hold. */
export function holders(queue: readonly Limited[]): number {
  let smallest = Infinity;
  for (let index = 0; index < queue.length; index++) {
    smallest = Math.min(smallest, queue[index]!.limit);
    if (index >= smallest) return index;
  }
  return queue.length;
}

/**
 * Whom a waiting claim must watch: empty if the claim at `index` holds, else the smallest set of
 * claims ahead that keeps it from holding for as long as all of them stay, nearest first. (Mutex:
 * the predecessor. Reader: the nearest exclusive claim. Semaphore of n: the n claims before it.)
 *
 * With k the smallest limit among the claim and those ahead, any k claims ahead that include one
 * of limit k, or any k at all if the claim's own limit is k, are such a set; none is smaller.
 */
export function watched<P extends Limited>(queue: readonly P[], index: number): P[] {
  const ahead = queue.slice(0, index).reverse();
  const own = queue[index]!.limit;
  const k = ahead.reduce((least, { limit }) => Math.min(least, limit), own);
  if (index < k) return [];
  const nearest = ahead.slice(0, k);
  if (own === k || nearest.some(({ limit }) => limit === k)) return nearest;
  return [...nearest.slice(0, k - 1), ahead.find(({ limit }) => limit === k)!];
}
