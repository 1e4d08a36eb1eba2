import type { Claim } from "../../internal/backend.ts";
import { decodeKey } from "../../internal/keys.ts";

const SUFFIX = ":votes";

/** The votes for a key, `prefix/{name}:votes`: apart from what the plain Redis backend keeps under the same name. */
export function votesKey(key: string): string {
  const slash = key.indexOf("/");
  return `${key.slice(0, slash)}/{${key.slice(slash + 1)}}${SUFFIX}`;
}

/** Matches the votes under `prefix/`. */
export function votesPattern(scope: string): string {
  return `${scope}{*}${SUFFIX}`;
}

/** The inverse of {@linkcode votesKey}. */
export function keyOf(votes: string): string {
  return votes.replace("{", "").slice(0, -SUFFIX.length - 1);
}

/** The lock that a claim is for, as errors name it. */
export function nameOf({ key }: Claim): string {
  return JSON.stringify(decodeKey(key));
}
