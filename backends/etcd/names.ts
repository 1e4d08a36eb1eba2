import type { Claim } from "../../internal/backend.ts";
import { decodePart, encodePart } from "../../internal/keys.ts";

/**
 * How claims are named. A claim is a key `<prefix>/<key>/<lease>-<n>`, with the lease's id in hex, as
 * Go's `concurrency.Mutex` and `etcdctl lock` name theirs (`<prefix>/<key>/<lease>`): they look only at
 * the create revisions below `<prefix>/<key>/`, and so do we. `n` tells apart the claims of a lease on
 * one key. What may hold beside others says so, `-shared` or `-<limit>`, so that a queue is listed
 * without values. Every other name below the key is an exclusive claim.
 */
export interface Name {
  /** Id of its lease in hex; `undefined` if it is none of ours. */
  readonly lease: string | undefined;
  /** 1 exclusive, n semaphore, Infinity shared. */
  readonly limit: number;
}

const OURS = /^([0-9a-f]+)-\d+(?:-(shared|[1-9]\d*))?$/;

/** The name of a claim. */
export function nameOf(claim: Claim, lease: string, n: number): string {
  const suffix = claim.limit === 1 ? "" : claim.limit === Infinity ? "-shared" : `-${claim.limit}`;
  return `${claim.key}/${lease}-${n}${suffix}`;
}

/** What the name of a claim says. */
export function readName(name: string): Name {
  const [, lease, limit] = OURS.exec(name.slice(name.lastIndexOf("/") + 1)) ?? [];
  return { lease, limit: limit === undefined ? 1 : limit === "shared" ? Infinity : Number(limit) };
}

/** The encoded `prefix/key` of a claim's name; `undefined` if it is none, but something else under the prefix. */
export function keyOf(name: string): string | undefined {
  const start = name.indexOf("/") + 1;
  const end = name.indexOf("/", start);
  return end > 0 && isEncoded(name.slice(start, end)) ? name.slice(0, end) : undefined;
}

function isEncoded(part: string): boolean {
  try {
    return encodePart(decodePart(part)) === part;
  } catch {
    return false;
  }
}

/** The encoded prefix of a key. */
export function prefixOf(key: string): string {
  return key.slice(0, key.indexOf("/"));
}

/**
 * What the names of a lease's own keys begin with, its fence and the notices to it: beside the keys, since no encoded key starts with "~", and under
 * the prefix, so that a permission for the prefix covers them.
 */
export function homeOf(prefix: string, lease: string): string {
  return `${prefix}/~${lease}/`;
}
