import { Verrou } from "@verrou/core";
import { redisStore } from "@verrou/core/drivers/redis";
import { Redis } from "ioredis";
import type { Open } from "../subject.ts";

export const open: Open = (address, ttl) => {
  const client = new Redis(address);
  const locks = new Verrou({
    default: "redis",
    // deno-lint-ignore no-explicit-any -- it was made for an older ioredis
    stores: { redis: { driver: redisStore({ connection: client as any }) } },
  });
  return Promise.resolve({
    async acquire(key) {
      const lock = locks.createLock(key, ttl);
      await lock.acquire();
      return () => lock.release();
    },
    close: () => client.quit(),
  });
};
