import type { Traits } from "../../internal/backend.ts";

/** What SQLite promises; apart from the backend, so that the default manager knows it without loading that. */
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
