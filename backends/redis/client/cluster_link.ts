import { isIP } from "node:net";
import { checkServerIdentity, type ConnectionOptions } from "node:tls";
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from "ioredis";
import type { RedisNode } from "./endpoint.ts";
import { ClusterEars, HAS_SHARDS, type Slots } from "./cluster_ears.ts";
import { isFinal, reasonOf } from "./errors.ts";
import type { Link, LinkRequest } from "./link.ts";
import { ours } from "./ours.ts";
import { Plain, SAFE, scan } from "./server_link.ts";

/**
 * Like {@linkcode SAFE}, at the level of the Cluster; ASK and MOVED are followed, nothing else is
 * repeated. A call may wait for the first connection to a node, which stands or fails. Whether the Cluster
 * is whole is asked by {@linkcode openCluster}: ioredis hangs if it is refused an answer.
 */
const SAFE_CLUSTER: ClusterOptions = {
  lazyConnect: true,
  clusterRetryStrategy: () => null,
  enableOfflineQueue: true,
  enableReadyCheck: false,
  retryDelayOnFailover: 0,
  retryDelayOnClusterDown: 0,
  scaleReads: "master",
  keyPrefix: "",
};

const { enableOfflineQueue: _, ...SAFE_SERVER } = SAFE;
const SAFE_NODE: RedisOptions = { ...SAFE_SERVER, enableReadyCheck: false };

/**
 * A node that takes in calls and answers none for so many milliseconds is disconnected, after which
 * another node tells who serves its slots now.
 */
const NODE_SILENCE = 2_000;

/** How to reach a Cluster. */
export interface ClusterAddress {
  /** Some of its nodes; they tell the rest. */
  readonly nodes: readonly ClusterNode[];
  /** For every node: `password`, `tls` ... */
  readonly node: RedisOptions;
  /** For the Cluster: `natMap`, `dnsLookup` ... */
  readonly options: ClusterOptions;
}

/** Opens connections of our own to a Cluster. */
export async function openCluster(
  address: ClusterAddress,
  request: LinkRequest,
): Promise<Link> {
  const { Cluster } = await import("ioredis");
  const cluster = new Cluster([...address.nodes], {
    // Each node by its name: ioredis would look all of them up first, and give up if one is not known.
    dnsLookup: (name, callback) => callback(null, name),
    ...address.options,
    ...SAFE_CLUSTER,
    redisOptions: { connectTimeout: 5_000, socketTimeout: NODE_SILENCE, ...address.node, ...SAFE_NODE },
  });
  let failure: unknown;
  let up = false;
  const failed = (error: unknown) => {
    const reason = reasonOf(error);
    // Until the link stands, what cannot get better says more than that another node is away, and anything
    // more than that a command was cut off.
    if (up || failure === undefined || !isFinal(failure) && !wasCutOff(reason)) failure = reason;
  };
  const names = (address.nodes as RedisNode[]).map(({ host, servername }) => servername ?? host)
    .filter((name) => isIP(name) === 0);
  cluster.on("+node", (node: Redis) => prepare(node, names, failed));
  cluster.on("error", failed);
  cluster.on("node error", failed);
  cluster.on("end", () => {
    if (up) request.down(failure ?? new Error("every node of the Cluster is away"));
  });
  const close = () => {
    up = false;
    cluster.disconnect();
  };
  request.abandoned.addEventListener("abort", close);
  try {
    await cluster.connect();
    failure = undefined;
    const info = String(await cluster.call("CLUSTER", "INFO"));
    if (info.includes("cluster_state:fail")) throw new Error("CLUSTERDOWN the Cluster is not whole");
    const link = await listenInCluster(cluster, request, close);
    up = true;
    return link;
  } catch (error) {
    close();
    throw isFinal(error) ? error : failure ?? error;
  } finally {
    request.abandoned.removeEventListener("abort", close);
  }
}

function wasCutOff(error: unknown): boolean {
  return error instanceof Error && error.message === "Connection is closed.";
}

/**
 * Before a node connects. The slots are asked for by a duplicate, whose errors ioredis keeps to itself; and what
 * comes of ASKING ioredis does not handle, which would end the process. The command that follows tells.
 */
function prepare(node: Redis, names: readonly string[], failed: (error: unknown) => void): void {
  ours(node);
  const { options } = node;
  if (options.tls) options.tls = { ...options.tls, ...identity(options, names) };
  const asking = node.asking as () => Promise<unknown>;
  node.asking = (() => asking.call(node).catch(() => {})) as Redis["asking"];
  const duplicate = node.duplicate as (override?: object) => Redis;
  node.duplicate =
    ((override?: object) => ours(duplicate.call(node, override)).on("error", failed)) as Redis["duplicate"];
}

/** A node of which the others tell only the address may show a certificate for any name that we were given. */
function identity(node: RedisOptions & { servername?: string }, names: readonly string[]): ConnectionOptions {
  const { servername = node.tls?.servername, host = "" } = node;
  if (servername !== undefined) return { servername };
  if (names.length === 0 || isIP(host) === 0) return {};
  return {
    servername: names[0],
    checkServerIdentity: (_, certificate) => {
      const found = [...names, host].map((name) => checkServerIdentity(name, certificate));
      return found.includes(undefined) ? undefined : found[0];
    },
  };
}

/** Commands by whatever client of a Cluster, messages by a connection of our own to one of its masters. */
export async function listenInCluster(
  cluster: Cluster,
  request: LinkRequest,
  close: () => void,
): Promise<Link> {
  const masters = cluster.nodes("master");
  const master = masters[Math.floor(Math.random() * masters.length)];
  if (master === undefined) throw new Error("the Cluster has no master");
  const messages = await new Plain(master.duplicate(SAFE), request).open(true);
  try {
    const sharded = Number(await cluster.call("eval", HAS_SHARDS, 0)) === 1;
    return new ClusterLink(cluster, messages, sharded ? slotsOf(cluster, request) : undefined, close);
  } catch (error) {
    messages.close();
    throw error;
  }
}

/** What ioredis knows of the slots, and has no public way to: the nodes that serve each, the master first. */
interface Inner {
  readonly slots: readonly (readonly string[] | undefined)[];
  refreshSlotsCache(callback: () => void): void;
}

/** By a client of our own, whatever version the other one is of: not every one has sharded channels. */
function slotsOf(cluster: Cluster, request: LinkRequest): Slots {
  const inner = cluster as unknown as Inner;
  return {
    node: (slot) => inner.slots[slot]?.[0],
    refresh: () => inner.refreshSlotsCache(() => {}),
    async open(name) {
      const node = cluster.nodes("master").find(({ options }) => `${options.host}:${options.port}` === name);
      if (node === undefined) throw new Error("TRYAGAIN the node of a channel is away");
      const { host, port, username, password, tls, family, connectTimeout, protocol } = node.options;
      const given = { host, port, username, password, tls, family, connectTimeout, protocol };
      const { Redis } = await import("ioredis");
      const ear = await new Plain(new Redis({ ...given, enableReadyCheck: false, ...SAFE }), request).open(
        false,
      );
      return {
        subscribe: (channel) => ear.client.ssubscribe(channel),
        unsubscribe: (channel) => ear.client.sunsubscribe(channel),
        ping: () => ear.client.ping(),
        close: () => ear.close(),
      };
    },
  };
}

class ClusterLink implements Link {
  readonly keyPrefix: string;
  readonly cluster = true;
  readonly #cluster: Cluster;
  readonly #messages: Plain;
  readonly #ears: ClusterEars;
  readonly #close: () => void;

  constructor(cluster: Cluster, messages: Plain, slots: Slots | undefined, close: () => void) {
    this.keyPrefix = cluster.options.keyPrefix ?? "";
    this.#cluster = cluster;
    this.#messages = messages;
    const { client } = messages;
    this.#ears = new ClusterEars({
      subscribe: (channel) => client.subscribe(channel),
      unsubscribe: (channel) => client.unsubscribe(channel),
    }, slots);
    this.#close = close;
  }

  get sharded(): boolean {
    return this.#ears.sharded;
  }

  get usable(): boolean {
    return this.#messages.usable;
  }

  send(command: string, args: readonly (string | number)[]): Promise<unknown> {
    return this.#cluster.call(command, ...args);
  }

  subscribe(channel: string): Promise<void> {
    return this.#ears.subscribe(channel);
  }

  unsubscribe(channel: string): Promise<void> {
    return this.#ears.unsubscribe(channel);
  }

  probe(): Promise<void> {
    return this.#ears.ping();
  }

  async scan(pattern: string): Promise<string[]> {
    const all = this.#cluster.nodes("master").map((node: Redis) =>
      scan((args) => node.call("SCAN", ...args), pattern)
    );
    return (await Promise.all(all)).flat();
  }

  close(): void {
    this.#messages.close();
    this.#ears.close();
    this.#close();
  }
}
