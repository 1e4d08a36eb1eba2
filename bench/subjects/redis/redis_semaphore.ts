import { Redis } from "ioredis";
import { Mutex, RedlockMutex } from "redis-semaphore";
import type { Open } from "../subject.ts";
import { addresses } from "./addresses.ts";

/** On one server, or on several. */
export const open: Open = (address, ttl) => {
  const clients = addresses(address).map((one) => new Redis(one));
  const options = { lockTimeout: ttl, acquireTimeout: 600_000 };
  return Promise.resolve({
    async acquire(key) {
      const mutex = clients.length === 1
        ? new Mutex(clients[0]!, key, options)
        : new RedlockMutex(clients, key, options);
      await mutex.acquire();
      return () => mutex.release();
    },
    close: () => Promise.all(clients.map((client) => client.quit())),
  });
};
