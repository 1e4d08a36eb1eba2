import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { admit } from "../redlock/nodes.ts";
import { ConsulCluster, ConsulServer } from "../servers/consul.ts";
import { ServerClock } from "../servers/clock.ts";
import { EtcdCluster, EtcdServer } from "../servers/etcd.ts";
import { until } from "../servers/process.ts";
import { PostgresPair, PostgresServer } from "../servers/postgres.ts";
import { Proxy } from "../servers/proxy.ts";
import { RedisSentinels, RedisServer } from "../servers/redis.ts";
import { ZooKeeperEnsemble, ZooKeeperServer } from "../servers/zookeeper.ts";
import { type Address, TICK } from "./address.ts";

/** A store to try faults on. */
export interface Ground extends AsyncDisposable {
  /** Where a competitor reaches it, by a way that no fault touches. */
  readonly address: Address;
  /** A way of its own for one holder, through proxies. Absent: there is no network. */
  route?(): Promise<Route>;
  /** Stops the server and starts it again with what it has on disk. */
  restart?(): Promise<void>;
  /** Kills the leader or master, and waits for another. */
  failover?(): Promise<void>;
  /** The server's clock. */
  readonly clock?: ServerClock;
  /** Resolves once the lock of a key is as safe as the store makes it, where that is some time after the grant. */
  secured?(key: string): Promise<void>;
}

/** Proxies between a holder and a store. */
export interface Route extends AsyncDisposable {
  readonly address: Address;
  readonly proxies: readonly Proxy[];
}

/** A kind of store. */
export interface Store {
  readonly name: string;
  /** Milliseconds: as short as the store allows without being hasty. */
  readonly ttl: number;
  /** Milliseconds after its ttl until the store has surely given a lost lock to the next. */
  readonly lag: number;
  /** One that a fault to a single holder leaves as it was. */
  shared(): Promise<Ground>;
  /** One for a single trial that restarts it. */
  restarting?(): Promise<Ground>;
  /** One for a single trial that kills its leader. */
  failing?(): Promise<Ground>;
  /** One for a single trial that steps its clock. */
  clocked?(): Promise<Ground>;
}

const HOST = "127.0.0.1";

/** ZooKeeper's own limit would be 20 ticks. */
const ZOOKEEPER = { tickTime: TICK, config: ["maxSessionTimeout=40000"] };

/** The stores of the matrix. */
export const stores: readonly Store[] = [
  { name: "sqlite", ttl: 1_500, lag: 1_000, shared: sqliteFile },
  {
    name: "redis",
    ttl: 1_500,
    lag: 1_500,
    shared: async () => oneServer("redis", await RedisServer.start(), redisUrl),
    restarting: async () => oneServer("redis", await RedisServer.start(), redisUrl),
    failing: redisSentinels,
    async clocked() {
      const clock = await ServerClock.create();
      return { ...oneServer("redis", await RedisServer.start({ env: clock.env }), redisUrl), clock };
    },
  },
  {
    name: "redlock",
    ttl: 1_500,
    lag: 2_500,
    shared: () => redlock(),
    restarting: () => redlock(),
    failing: () => redlock(),
    clocked: async () => redlock(await ServerClock.create()),
  },
  {
    name: "etcd",
    ttl: 2_000,
    lag: 3_000,
    shared: async () => oneServer("etcd", await EtcdServer.start(), httpUrl),
    restarting: async () => oneServer("etcd", await EtcdServer.start(), httpUrl),
    async failing() {
      const cluster = await EtcdCluster.start();
      return {
        address: { backend: "etcd", at: cluster.urls },
        async failover() {
          const leader = await cluster.leader();
          await leader.kill();
          await cluster.leader(leader);
        },
        [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: "zookeeper",
    ttl: 4_000,
    lag: 4_000,
    shared: async () => oneServer("zookeeper", await ZooKeeperServer.start(ZOOKEEPER), hostAndPort),
    restarting: async () => oneServer("zookeeper", await ZooKeeperServer.start(ZOOKEEPER), hostAndPort),
    async failing() {
      const ensemble = await ZooKeeperEnsemble.start(ZOOKEEPER);
      return {
        address: { backend: "zookeeper", at: [ensemble.address] },
        async failover() {
          const leader = await ensemble.leader();
          await leader.kill();
          await ensemble.leader(leader);
        },
        [Symbol.asyncDispose]: () => ensemble[Symbol.asyncDispose](),
      };
    },
    async clocked() {
      const clock = await ServerClock.create();
      const server = await ZooKeeperServer.start({ ...ZOOKEEPER, env: clock.env });
      return { ...oneServer("zookeeper", server, hostAndPort), clock };
    },
  },
  {
    name: "consul",
    ttl: 10_000,
    lag: 15_000,
    shared: async () => oneServer("consul", await ConsulServer.start(), httpUrl),
    restarting: async () => oneServer("consul", await ConsulServer.start({ persistent: true }), httpUrl),
    async failing() {
      const cluster = await ConsulCluster.start();
      const leader = await cluster.leader();
      // An agent that stays: its client has no other.
      const agent = cluster.servers.find((server) => server !== leader)!;
      return {
        address: { backend: "consul", at: [agent.url] },
        async failover() {
          await leader.kill();
          await cluster.leader(leader);
        },
        [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: "postgres",
    ttl: 1_500,
    lag: 1_500,
    // Nothing ends this one before its time.
    shared: async () =>
      oneServer("postgres", await PostgresServer.start({ args: ["-c", "fsync=off"] }), postgresUrl),
    restarting: async () => oneServer("postgres", await PostgresServer.start(), postgresUrl),
    async failing() {
      const pair = await PostgresPair.start({ synchronous: true });
      return {
        address: { backend: "postgres", at: [postgresUrl(pair.primary.port, pair.replica.port)] },
        async failover() {
          await pair.primary.kill();
          await pair.promote();
        },
        [Symbol.asyncDispose]: () => pair[Symbol.asyncDispose](),
      };
    },
    async clocked() {
      const clock = await ServerClock.create();
      const server = await PostgresServer.start({ env: clock.env });
      return { ...oneServer("postgres", server, postgresUrl), clock };
    },
  },
];

/** A single server as the launchers of `tests/servers` make it. */
interface Server extends AsyncDisposable {
  readonly port: number;
  restart(signal?: NodeJS.Signals): Promise<void>;
}

function oneServer(backend: Address["backend"], server: Server, at: (port: number) => string): Ground {
  return {
    address: { backend, at: [at(server.port)] },
    async route() {
      const proxy = await Proxy.start({ port: server.port });
      return {
        address: { backend, at: [at(proxy.port)] },
        proxies: [proxy],
        [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
      };
    },
    restart: () => server.restart(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function sqliteFile(): Promise<Ground> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-faults-"));
  return {
    address: { backend: "sqlite", at: [join(folder, "locks.db")] },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Three nodes; it is the first to which something happens. */
async function redlock(clock?: ServerClock): Promise<Ground> {
  const nodes = await Promise.all(
    [clock?.env, undefined, undefined].map((env) => RedisServer.start({ env })),
  );
  await Promise.all(nodes.map(admit)); // otherwise they would stay out for the longest ttl
  return {
    address: { backend: "redlock", at: nodes.map(({ url }) => url) },
    async route() {
      const proxies = await Promise.all(nodes.map(({ port }) => Proxy.start({ port })));
      return {
        address: { backend: "redlock", at: proxies.map(({ port }) => redisUrl(port)) },
        proxies,
        async [Symbol.asyncDispose]() {
          for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
        },
      };
    },
    restart: () => nodes[0]!.restart(),
    failover: () => nodes[0]!.kill(),
    // A bare majority grants it, of which no node may go; the others follow while it is held.
    async secured(key) {
      const votes = () => Promise.all(nodes.map((node) => node.cli("hkeys", `holdfast/{${key}}:votes`)));
      const id = /^[0-9a-f]+-[0-9a-f-]+$/m;
      await until(
        async () => {
          const ids = (await votes()).map((fields) => id.exec(fields)?.[0]);
          return ids[0] !== undefined && ids.every((one) => one === ids[0]);
        },
        () => `not all nodes have voted for one claim of ${key}`,
      );
    },
    ...(clock && { clock }),
    async [Symbol.asyncDispose]() {
      for (const node of nodes) await node[Symbol.asyncDispose]();
    },
  };
}

/** A master with a replica, under Sentinels. */
async function redisSentinels(): Promise<Ground> {
  const servers = await RedisSentinels.start();
  return {
    address: {
      backend: "redis",
      at: servers.sentinels.map(({ port }) => hostAndPort(port)),
      sentinel: servers.name,
    },
    async failover() {
      const master = await servers.master();
      await master.kill();
      await servers.promoted(master);
    },
    [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose](),
  };
}

function redisUrl(port: number): string {
  return `redis://${HOST}:${port}`;
}

function postgresUrl(...ports: number[]): string {
  return `postgres://postgres@${ports.map(hostAndPort).join()}/postgres`;
}

function httpUrl(port: number): string {
  return `http://${HOST}:${port}`;
}

function hostAndPort(port: number): string {
  return `${HOST}:${port}`;
}
