import { Etcd3, EtcdLockFailedError } from "etcd3";
import type { Open } from "../subject.ts";

/** The package's own lock, which gives up at once: who waits asks again, as a user of it would. */
export const open: Open = (address, ttl) => {
  const client = new Etcd3({ hosts: address.replace("etcd:", "http:") });
  return Promise.resolve({
    async acquire(key) {
      for (;;) {
        const lock = client.lock(key).ttl(Math.ceil(ttl / 1_000));
        try {
          await lock.acquire();
          return () => lock.release();
        } catch (error) {
          if (!(error instanceof EtcdLockFailedError)) throw error;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
    },
    close: () => Promise.resolve(client.close()),
  });
};
