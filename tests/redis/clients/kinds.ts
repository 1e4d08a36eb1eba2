/** The clients that may be handed in, each in each version. */
import type { RedisClient } from "../../../backends/redis.ts";

/** Where Redis is. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** A connected client, and how its owner closes it. */
export interface Handed {
  readonly client: RedisClient;
  end(): unknown;
}

/** A client. */
export interface Kind {
  readonly name: string;
  /** What it connects to; the first of several servers, or of several Sentinels, is enough. */
  readonly to: "server" | "Cluster" | "Sentinels";
  /** Whether it has an option `keyPrefix`. */
  readonly prefixes: boolean;
  connect(place: Place, keyPrefix?: string): Promise<Handed>;
}

/** The name by which the Sentinels of the tests know the master. */
const MASTER = "holdfast";

// The packages are used in the same way; that the types of each fit as well is for `types.ts`.
type Ioredis = Pick<typeof import("ioredis"), "Redis" | "Cluster">;
type NodeRedis = typeof import("redis");

const IOREDIS: Readonly<Record<string, () => Promise<unknown>>> = {
  "ioredis 4": async () => {
    const { default: Redis } = await import("ioredis-4");
    return { Redis, Cluster: Redis.Cluster };
  },
  "ioredis 5": () => import("ioredis-5"),
  "ioredis 6": () => import("ioredis"),
  iovalkey: () => import("iovalkey"),
};

const NODE_REDIS: Readonly<Record<string, () => Promise<unknown>>> = {
  "node-redis 4": () => import("redis-4"),
  "node-redis 5": () => import("redis-5"),
  "node-redis 6": () => import("redis"),
};

const { "node-redis 4": _, ...POOLED } = NODE_REDIS;

/** All of them that there are on this runtime. */
export const kinds: readonly Kind[] = [
  ...Object.entries(IOREDIS).flatMap(([name, load]): Kind[] => [{
    name: `${name}: Redis`,
    to: "server",
    prefixes: true,
    async connect({ host, port }, keyPrefix = "") {
      const { Redis } = await load() as Ioredis;
      const client = new Redis({ host, port, keyPrefix, lazyConnect: true }).on("error", () => {});
      await client.connect();
      return { client, end: () => client.disconnect() };
    },
  }, {
    name: `${name}: Redis by Sentinels`,
    to: "Sentinels",
    prefixes: true,
    async connect(sentinel, keyPrefix = "") {
      const { Redis } = await load() as Ioredis;
      const client = new Redis({ sentinels: [sentinel], name: MASTER, keyPrefix, lazyConnect: true });
      await client.on("error", () => {}).connect();
      return { client, end: () => client.disconnect() };
    },
  }, {
    name: `${name}: Cluster`,
    to: "Cluster",
    prefixes: true,
    async connect(node, keyPrefix = "") {
      const { Cluster } = await load() as Ioredis;
      // By default a busy machine that is silent for a second is no Cluster.
      const client = new Cluster([node], { keyPrefix, lazyConnect: true, slotsRefreshTimeout: 10_000 });
      await client.on("error", () => {}).connect();
      return { client, end: () => client.disconnect() };
    },
  }]),
  ...Object.entries(NODE_REDIS).flatMap(([name, load]): Kind[] => [{
    name: `${name}: createClient`,
    to: "server",
    prefixes: name === "node-redis 6",
    async connect(socket, keyPrefix) {
      const { createClient } = await load() as NodeRedis;
      const client = createClient({ socket: { ...socket }, ...prefix(keyPrefix) }).on("error", () => {});
      await client.connect();
      return { client, end: () => client.disconnect() };
    },
  }, {
    name: `${name}: createCluster`,
    to: "Cluster",
    prefixes: name === "node-redis 6",
    async connect(socket, keyPrefix) {
      const { createCluster } = await load() as NodeRedis;
      const client = createCluster({ rootNodes: [{ socket: { ...socket } }], ...prefix(keyPrefix) });
      await client.on("error", () => {}).connect();
      return { client, end: () => client.disconnect() };
    },
  }]),
  ...Object.entries(POOLED).flatMap(([name, load]): Kind[] => [{
    name: `${name}: createClientPool`,
    to: "server",
    prefixes: name === "node-redis 6",
    async connect(socket, keyPrefix) {
      const { createClientPool } = await load() as NodeRedis;
      const client = createClientPool({ socket: { ...socket }, ...prefix(keyPrefix) });
      await client.on("error", () => {}).connect();
      return { client, end: () => client.destroy() };
    },
  }, {
    name: `${name}: createSentinel`,
    to: "Sentinels",
    prefixes: name === "node-redis 6",
    async connect(sentinel, keyPrefix) {
      const { createSentinel } = await load() as NodeRedis;
      const client = createSentinel({
        name: MASTER,
        sentinelRootNodes: [{ ...sentinel }],
        ...prefix(keyPrefix),
      });
      await client.on("error", () => {}).connect();
      return { client, end: () => client.destroy() };
    },
  }]),
  ...bun(),
];

function prefix(keyPrefix: string | undefined): object {
  return keyPrefix === undefined ? {} : { keyPrefix };
}

/** What there is of Bun's own client on this runtime. */
type Bun = {
  readonly RedisClient: new (url: string) => RedisClient & { connect(): Promise<void>; close(): void };
};

function bun(): Kind[] {
  const { Bun } = globalThis as { Bun?: Bun };
  if (!Bun) return [];
  return [{
    name: "Bun: RedisClient",
    to: "server",
    prefixes: false,
    async connect({ host, port }) {
      const client = new Bun.RedisClient(`redis://${host}:${port}`);
      await client.connect();
      return { client, end: () => client.close() };
    },
  }];
}
