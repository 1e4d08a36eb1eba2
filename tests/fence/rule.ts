/** What every fence does, wherever it remembers its tokens. */
import assert from "node:assert/strict";
import { type Fence, StaleTokenError } from "../../fence.ts";

/** Where numbers, doubles and 64 bits end, and the greatest that there is. */
const RISING = [
  0n,
  9n,
  10n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n,
  10n ** 40n - 1n,
];

/** Keys that a store, or who writes them into one, may take for each other. */
const ALIKE = [
  "a",
  "A",
  "a ",
  "a/b",
  "a%2Fb",
  "",
  "%",
  ".",
  "..",
  "ä",
  "a\u0308",
  "a\0",
  "\0",
  "\ud800",
  "\udfff",
];

/** A token smaller than the greatest is refused, whatever its size; the greatest passes again. */
export async function refusesSmaller(fence: Fence, key: string): Promise<void> {
  for (const [at, token] of RISING.entries()) {
    await fence.check(key, token);
    await fence.check(key, token);
    for (const older of RISING.slice(0, at)) {
      await assert.rejects(fence.check(key, older), new StaleTokenError(key, older, token));
    }
  }
}

/** No two keys are one, these and others, and the longest is one too. */
export async function tellsApart(fence: Fence, others: readonly string[] = []): Promise<void> {
  const keys = [...new Set([...ALIKE, "漢".repeat(512), ...others])];
  for (const [at, key] of keys.entries()) await fence.check(key, BigInt(100 - at));
  for (const [at, key] of keys.entries()) {
    await assert.rejects(fence.check(key, BigInt(99 - at)), { code: "stale", key, seen: BigInt(100 - at) });
  }
}
