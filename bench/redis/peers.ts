/** The packages that lock by Redis, each as it is used by its own README. */
import { Redis } from "ioredis";

/** A lock package: gives out a lock and takes it back. */
export interface Peer {
  /** Waits for the lock; what it resolves to releases it. */
  acquire(key: string): Promise<() => Promise<unknown>>;
  /** Closes its connections. */
  close(): Promise<void>;
}

/** Milliseconds: the ttl of all. */
const TTL = 10_000;

async function redlock(url: string): Promise<Peer> {
  const { default: Redlock } = await import("redlock");
  const client = new Redis(url);
  // deno-lint-ignore no-explicit-any -- it was made for an older ioredis
  const locks = new Redlock([client as any], { retryCount: -1 });
  return {
    async acquire(key) {
      const lock = await locks.acquire([key], TTL);
      return () => lock.release();
    },
    close: () => Promise.resolve(client.disconnect()),
  };
}

async function sesamecare(url: string): Promise<Peer> {
  const { Redlock } = await import("@sesamecare-oss/redlock");
  const client = new Redis(url);
  // deno-lint-ignore no-explicit-any -- it was made for an older ioredis
  const locks = new Redlock([client as any], { retryCount: -1 });
  return {
    async acquire(key) {
      const lock = await locks.acquire([key], TTL);
      return () => lock.release();
    },
    close: () => Promise.resolve(client.disconnect()),
  };
}

async function redisSemaphore(url: string): Promise<Peer> {
  const { Mutex } = await import("redis-semaphore");
  const client = new Redis(url);
  return {
    async acquire(key) {
      const mutex = new Mutex(client, key, { lockTimeout: TTL, acquireTimeout: 60_000 });
      await mutex.acquire();
      return () => mutex.release();
    },
    close: () => Promise.resolve(client.disconnect()),
  };
}

async function verrou(url: string): Promise<Peer> {
  const { Verrou } = await import("@verrou/core");
  const { redisStore } = await import("@verrou/core/drivers/redis");
  const client = new Redis(url);
  const locks = new Verrou({
    default: "redis",
    // deno-lint-ignore no-explicit-any -- it was made for an older ioredis
    stores: { redis: { driver: redisStore({ connection: client as any }) } },
  });
  return {
    async acquire(key) {
      const lock = locks.createLock(key, TTL);
      await lock.acquire();
      return () => lock.release();
    },
    close: () => Promise.resolve(client.disconnect()),
  };
}

async function simpleRedisMutex(url: string): Promise<Peer> {
  const { lock } = await import("simple-redis-mutex");
  const { createClient } = await import("redis");
  const client = createClient({ url });
  await client.connect();
  return {
    // deno-lint-ignore no-explicit-any -- it was made for an older node-redis
    acquire: (key) => lock(client as any, key, { timeout: TTL }),
    close: () => client.close(),
  };
}

async function nodeRedisson(url: string): Promise<Peer> {
  const { Redisson } = await import("node-redisson");
  const { hostname: host, port } = new URL(url);
  const locks = new Redisson({ redis: { options: { host, port: Number(port) } } });
  return {
    async acquire(key) {
      const lock = locks.getLock(key);
      await lock.lock();
      return () => lock.unlock();
    },
    close: () => locks.quit(),
  };
}

async function redlockUniversal(url: string): Promise<Peer> {
  const { createLock, IoredisAdapter } = await import("redlock-universal");
  const client = new Redis(url);
  // deno-lint-ignore no-explicit-any -- it was made for an older ioredis
  const adapter = new IoredisAdapter(client as any);
  return {
    async acquire(key) {
      const lock = createLock({ adapter, key, ttl: TTL, retryAttempts: 1_000 });
      const handle = await lock.acquire();
      return () => lock.release(handle);
    },
    close: () => Promise.resolve(client.disconnect()),
  };
}

/** By their names on npm. */
export const PEERS: Readonly<Record<string, (url: string) => Promise<Peer>>> = {
  "redlock": redlock,
  "redis-semaphore": redisSemaphore,
  "@sesamecare-oss/redlock": sesamecare,
  "@verrou/core": verrou,
  "simple-redis-mutex": simpleRedisMutex,
  "node-redisson": nodeRedisson,
  "redlock-universal": redlockUniversal,
};
