import { instrument } from "../../../otel.ts";
import { LockManager } from "../../../mod.ts";
import { memory } from "../../../backends/memory.ts";
import type { Open } from "../subject.ts";

/** Ours with `instrument`, where no SDK is there to hear of it. */
export const open: Open = (_, ttl) => {
  const locks = new LockManager(memory(), { ttl });
  instrument(locks);
  return Promise.resolve({
    async acquire(key) {
      const lock = await locks.acquire(key);
      return () => lock.release();
    },
    close: () => locks.close(),
  });
};
