import type { Traits } from "../../internal/backend.ts";

/** What Redis promises. */
export const REDIS_TRAITS: Traits = {
  fencing: "clock",
  order: "fifo",
  inOrder: true,
  semaphore: true,
  minTtl: 100,
  maxTtl: 86_400_000,
  timer: "claim",
  settle: 0,
};
