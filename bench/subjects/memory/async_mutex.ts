import { Mutex } from "async-mutex";
import type { Open } from "../subject.ts";

/** A mutex for each name; it knows no ttl, token or loss. */
export const open: Open = () => {
  const mutexes = new Map<string, Mutex>();
  return Promise.resolve({
    async acquire(key) {
      let mutex = mutexes.get(key);
      if (mutex === undefined) mutexes.set(key, mutex = new Mutex());
      const release = await mutex.acquire();
      return async () => release();
    },
    close: () => Promise.resolve(),
  });
};
