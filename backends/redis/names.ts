/** How keys of the lock manager, `prefix/name`, and claims are named in Redis. */
import type { Claim, Entry } from "../../internal/backend.ts";

/** The queue of a key. The braces are what a Cluster hashes. */
export function queueKey(key: string): string {
  const slash = key.indexOf("/");
  return `${key.slice(0, slash)}/{${key.slice(slash + 1)}}`;
}

/** Matches the queues under `prefix/`. A prefix has no character that means something in a pattern. */
export function queuePattern(scope: string): string {
  return `${scope}{*}`;
}

/** A pattern that matches this text alone. */
export function literal(text: string): string {
  return text.replace(/[*?[\]\\]/g, "\\$&");
}

/** The inverse of {@linkcode queueKey}. */
export function keyOf(queue: string): string {
  return queue.replace("{", "").slice(0, -1);
}

/** The name of a claim, see `queue.ts`. `channel`: where its process hears of it. */
export function claimName({ id, limit, metadata, client }: Claim, channel: string): string {
  return `${id} ${limit === Infinity ? 0 : limit} ${metadata === undefined ? 0 : 1} ${channel} ${client}`;
}

/** What the name of a claim says; `undefined` if it is none. */
export function claimOf(name: string): Pick<Entry, "id" | "limit" | "client"> | undefined {
  const [, id, limit, client] = /^(\S+) (\d+) [01] \S+ (.*)$/.exec(name) ?? [];
  if (id === undefined) return undefined;
  const shared = limit === "0";
  return {
    id,
    client: client!,
    limit: shared ? Infinity : Number(limit),
  };
}
