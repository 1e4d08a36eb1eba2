/** How a key of the lock manager, `prefix/name`, is named in Redis. */

/** The queue of a key. The braces are what a Cluster hashes. */
export function queueKey(key: string): string {
  const slash = key.indexOf("/");
  return `${key.slice(0, slash)}/{${key.slice(slash + 1)}}`;
}

/** Matches the queues under `prefix/`. A prefix has no character that means something in a pattern. */
export function queuePattern(scope: string): string {
  return `${scope}{*}`;
}

/** The inverse of {@linkcode queueKey}. */
export function keyOf(queue: string): string {
  return queue.replace("{", "").slice(0, -1);
}
