/** What the core asks a lease for, made by hand. */
import type { Call, Claim } from "../../internal/backend.ts";

/** A call that has so many milliseconds. */
export function call(ms = 5_000): Call {
  return { signal: AbortSignal.timeout(ms), timeout: ms };
}

/** A claim that was never sent, for a key with its prefix: `"holdfast/k"`. */
export function claim(key: string, wait = true): Claim {
  return {
    id: crypto.randomUUID(),
    key,
    mode: "exclusive",
    limit: 1,
    ttl: 10_000,
    metadata: undefined,
    client: "tests",
    steal: false,
    wait,
    progress: "new",
  };
}
