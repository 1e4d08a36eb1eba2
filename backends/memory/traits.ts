import type { Traits } from "../../internal/backend.ts";

/** What memory promises. */
export const MEMORY_TRAITS: Traits = {
  fencing: "process",
  order: "fifo",
  inOrder: true,
  semaphore: true,
  minTtl: 10,
  maxTtl: 86_400_000,
  timer: "claim",
  settle: 0,
};
