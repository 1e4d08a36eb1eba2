import { LockError } from "../errors.ts";
import { encodePart } from "../keys.ts";

/** The check at the resource: what the holder of a lock writes passes here first. */
export interface Fence {
  /**
   * Refuses a token smaller than the greatest that was seen for the key, and remembers it otherwise, in one
   * step. The greatest itself passes again: a holder writes more than once, and repeats a check whose answer
   * was lost.
   *
   * @param key Of the lock: `lock.key`, or one of `lock.keys`
   * @param token Of an exclusive holder: `lock.token`, or that of the key in `lock.tokens`
   * @throws {StaleTokenError} if a later holder was here before
   * @throws {TypeError} if the key is no string or the token no bigint
   * @throws {RangeError} if the key has more than 512 UTF-16 units, or the token is negative or has more than
   * 40 digits
   */
  check(key: string, token: bigint): Promise<void>;
}

/** A fence that can say it at once, so that nothing else of this process comes between check and write. */
export interface SyncFence extends Fence {
  /** As {@linkcode Fence.check}, done when it returns. */
  checkSync(key: string, token: bigint): void;
}

/** The writer's lock was lost: a later holder has written since. */
export class StaleTokenError extends LockError {
  /** The name of the class, whatever a minifier made of it. */
  override readonly name = "StaleTokenError";
  /** For `switch`. */
  declare readonly code: "stale";
  /** The key of the lock. */
  readonly key: string;
  /** The token that was refused. */
  readonly token: bigint;
  /** The greatest token that the resource has seen. */
  readonly seen: bigint;

  /** Says which lock, and which tokens. */
  constructor(key: string, token: bigint, seen: bigint) {
    const later = `token ${seen} of a later holder of lock ${JSON.stringify(key)} was seen before`;
    super("stale", `Cannot write with token ${token}: ${later}`);
    this.key = key;
    this.token = token;
    this.seen = seen;
  }
}

/** Passes a token that nothing greater was seen than. */
export function refuseStale(key: string, token: bigint, seen: bigint): void {
  if (seen > token) throw new StaleTokenError(key, token, seen);
}

/** Digits of a token in a store: more than the 39 of 128 bits. */
export const DIGITS = 40;

/**
 * What a token is in every store: its decimal digits, filled up with zeros, so that texts are in the order of
 * the numbers, whatever the store and its driver make of great numbers.
 */
export function encodeToken(token: bigint): string {
  return String(token).padStart(DIGITS, "0");
}

/**
 * The inverse of {@linkcode encodeToken}.
 *
 * @throws {Error} for what no fence has written: passing it would be a guess
 */
export function decodeToken(text: unknown): bigint {
  if (typeof text === "string" && text.length === DIGITS && /^\d+$/.test(text)) return BigInt(text);
  throw new Error("Cannot check a token: what the store has for the key was not written by a fence");
}

/** Names in a store are no longer than this, which fits into an index of any database. */
const LONGEST_NAME = 1_400;

/**
 * What a key is in a store: as locks call it there, or, where that is long, `~` before its UTF-16 in base 64.
 * It is in printable ASCII, and no two keys are alike.
 */
export function encodeName(key: string): string {
  const name = encodePart(key);
  if (name.length <= LONGEST_NAME) return name;
  const bytes = Array.from(
    { length: 2 * key.length },
    (_, at) => key.charCodeAt(at >> 1) >> (at % 2 ? 0 : 8) & 255,
  );
  return `~${btoa(String.fromCharCode(...bytes)).replaceAll("/", "_")}`;
}

/** The longest key of a lock, in UTF-16 units. */
export const LONGEST_KEY = 512;

/**
 * Checks what a fence is asked about.
 *
 * @throws {TypeError | RangeError}
 */
export function checkInput(key: string, token: bigint): void {
  if (typeof key !== "string") throw new TypeError(`Expected the key to be a string, got ${typeof key}`);
  if (typeof token !== "bigint") {
    throw new TypeError(`Expected the token to be a bigint, as lock.token is, got ${typeof token}`);
  }
  if (key.length > LONGEST_KEY) {
    throw new RangeError(`Expected a key of at most ${LONGEST_KEY} UTF-16 units, got ${key.length}`);
  }
  if (token < 0n || String(token).length > DIGITS) {
    throw new RangeError(`Expected a token of at most ${DIGITS} digits, and none below 0, got ${token}`);
  }
}
