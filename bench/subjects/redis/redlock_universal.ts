import { Redis } from "ioredis";
import { createLock, IoredisAdapter } from "redlock-universal";
import type { Open } from "../subject.ts";

export const open: Open = (address, ttl) => {
  const client = new Redis(address);
  // deno-lint-ignore no-explicit-any -- it was made for an older ioredis
  const adapter = new IoredisAdapter(client as any);
  return Promise.resolve({
    async acquire(key) {
      const lock = createLock({ adapter, key, ttl, retryAttempts: 100_000 });
      const handle = await lock.acquire();
      return () => lock.release(handle);
    },
    close: () => client.quit(),
  });
};
