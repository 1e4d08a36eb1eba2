/** What a refusal looks like. */
import assert from "node:assert/strict";
import type { BackendError } from "../../internal/errors.ts";
import { redis, type RedisTarget } from "../../backends/redis.ts";
import { LockManager } from "../../mod.ts";

/** Why an acquisition over this target fails, at the first attempt unless it may be repeated. */
export async function refusal(target: RedisTarget, retryFor = 0): Promise<BackendError> {
  await using locks = new LockManager(redis(target), { retryFor });
  return await locks.acquire("k").then(
    () => assert.fail("it was not refused"),
    (error: BackendError) => error,
  );
}

/** An acquisition over this target fails for good, says so, and shows nothing that is secret. */
export async function refused(target: RedisTarget, message: RegExp, secret = /pa55/): Promise<void> {
  // What is final is not repeated: only what a busy machine is too slow for.
  const error = await refusal(target, 10_000);
  assert.match(error.message, message);
  assert.equal(error.retryable, false, error.message);
  assert.doesNotMatch(shown(error), secret);
}

/** All that an error shows when it is printed: its message, its stack and its properties, causes included. */
export function shown(value: unknown, seen: Set<unknown> = new Set()): string {
  if (typeof value !== "object" || value === null) return String(value);
  if (seen.has(value)) return "";
  seen.add(value);
  const properties = Object.getOwnPropertyNames(value).map((name) =>
    `${name}: ${shown((value as Record<string, unknown>)[name], seen)}`
  );
  return `${value instanceof Error ? value : ""} { ${properties.join("; ")} }`;
}
