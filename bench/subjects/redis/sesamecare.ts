import { Redlock } from "@sesamecare-oss/redlock";
import { Redis } from "ioredis";
import type { Open } from "../subject.ts";
import { addresses } from "./addresses.ts";

/** On one server, or on several. */
export const open: Open = (address, ttl) => {
  const clients = addresses(address).map((one) => new Redis(one));
  // deno-lint-ignore no-explicit-any -- it was made for an older ioredis
  const locks = new Redlock(clients as any[], { retryCount: -1 });
  return Promise.resolve({
    async acquire(key) {
      const lock = await locks.acquire([key], ttl);
      return () => lock.release();
    },
    close: () => Promise.all(clients.map((client) => client.quit())),
  });
};
