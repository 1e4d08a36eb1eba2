import type { Traits } from "../../internal/backend.ts";

/** What ZooKeeper promises, with servers of this `tickTime` in milliseconds. */
export function zookeeperTraits(tickTime: number): Traits {
  return {
    fencing: "consensus",
    order: "fifo",
    inOrder: true,
    semaphore: true,
    minTtl: 2 * tickTime,
    maxTtl: 86_400_000,
    timer: "lease",
    settle: tickTime,
  };
}
