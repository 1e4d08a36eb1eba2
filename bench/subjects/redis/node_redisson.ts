import { Redisson } from "node-redisson";
import type { Open } from "../subject.ts";

export const open: Open = (address) => {
  const { hostname: host, port } = new URL(address);
  const locks = new Redisson({ redis: { options: { host, port: Number(port) } } });
  return Promise.resolve({
    async acquire(key) {
      const lock = locks.getLock(key);
      await lock.lock();
      return () => lock.unlock();
    },
    close: () => locks.quit(),
  });
};
