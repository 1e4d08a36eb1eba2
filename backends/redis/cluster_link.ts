import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from "ioredis";
import type { Link, LinkRequest } from "./link.ts";
import { Plain, SAFE, scan, unref } from "./server_link.ts";

/**
 * Like {@linkcode SAFE}, at the level of the Cluster; ASK and MOVED are followed, nothing else is
 * repeated. A call may wait for the first connection to a node, which stands or fails.
 */
const SAFE_CLUSTER: ClusterOptions = {
  lazyConnect: true,
  clusterRetryStrategy: () => null,
  enableOfflineQueue: true,
  enableReadyCheck: true,
  retryDelayOnFailover: 0,
  retryDelayOnClusterDown: 0,
  scaleReads: "master",
  keyPrefix: "",
};

const { enableOfflineQueue: _, ...SAFE_NODE } = SAFE;

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
    ...address.options,
    ...SAFE_CLUSTER,
    redisOptions: { connectTimeout: 5_000, socketTimeout: NODE_SILENCE, ...address.node, ...SAFE_NODE },
  });
  let failure: unknown;
  let up = false;
  cluster.on("+node", unref);
  cluster.on("error", (error) => failure = error);
  cluster.on("node error", (error) => failure = error);
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
    const link = await listenInCluster(cluster, request, close);
    up = true;
    return link;
  } catch (error) {
    close();
    throw failure ?? error;
  } finally {
    request.abandoned.removeEventListener("abort", close);
  }
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
  return new ClusterLink(cluster, messages, close);
}

class ClusterLink implements Link {
  readonly keyPrefix: string;
  readonly cluster = true;
  readonly #cluster: Cluster;
  readonly #messages: Plain;
  readonly #close: () => void;

  constructor(cluster: Cluster, messages: Plain, close: () => void) {
    this.keyPrefix = cluster.options.keyPrefix ?? "";
    this.#cluster = cluster;
    this.#messages = messages;
    this.#close = close;
  }

  get usable(): boolean {
    return this.#messages.usable;
  }

  send(command: string, args: readonly (string | number)[]): Promise<unknown> {
    return this.#cluster.call(command, ...args);
  }

  async subscribe(channel: string): Promise<void> {
    await this.#messages.client.subscribe(channel);
  }

  async unsubscribe(channel: string): Promise<void> {
    await this.#messages.client.unsubscribe(channel);
  }

  async scan(pattern: string): Promise<string[]> {
    const all = this.#cluster.nodes("master").map((node: Redis) =>
      scan((args) => node.call("SCAN", ...args), pattern)
    );
    return (await Promise.all(all)).flat();
  }

  close(): void {
    this.#messages.close();
    this.#close();
  }
}
