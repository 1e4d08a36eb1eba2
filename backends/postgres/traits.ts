import type { Traits } from "../../internal/backend.ts";

/** What Postgres promises. */
export const POSTGRES_TRAITS: Traits = {
  fencing: "durable",
  order: "fifo",
  inOrder: true,
  semaphore: true,
  minTtl: 500,
  maxTtl: 86_400_000,
  timer: "claim",
  settle: 0,
};
