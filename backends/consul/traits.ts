import type { Traits } from "../../internal/backend.ts";

/** What Consul promises; it takes no ttl below ten seconds. */
export const CONSUL_TRAITS: Traits = {
  fencing: "consensus",
  order: "fifo",
  inOrder: false,
  semaphore: true,
  minTtl: 10_000,
  maxTtl: 86_400_000,
  timer: "lease",
  settle: 0,
};
