import type { Traits } from "../../internal/backend.ts";

/** What SQLite promises. */
export const SQLITE_TRAITS: Traits = {
  fencing: "durable",
  order: "fifo",
  inOrder: true,
  semaphore: true,
  minTtl: 100,
  maxTtl: 86_400_000,
  timer: "claim",
  settle: 0,
};
