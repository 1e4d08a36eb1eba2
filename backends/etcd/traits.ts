import type { Traits } from "../../internal/backend.ts";

/** What etcd promises. */
export const ETCD_TRAITS: Traits = {
  fencing: "consensus",
  order: "fifo",
  inOrder: false,
  semaphore: true,
  minTtl: 1_000,
  maxTtl: 86_400_000,
  timer: "lease",
  settle: 0,
};
