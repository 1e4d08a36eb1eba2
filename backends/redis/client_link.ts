import type { Cluster, Redis } from "ioredis";
import { listenInCluster } from "./cluster_link.ts";
import type { Link, LinkRequest } from "./link.ts";
import { Plain, SAFE, scan } from "./server_link.ts";

/** A client of `ioredis`, as far as it is used: `Redis` or `Cluster`. */
export interface IoredisClient {
  /** Sends any command. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** `"ready"`, `"end"` ... */
  readonly status: string;
}

/** A connected client of `redis` (node-redis), as far as it is used. */
export interface NodeRedisClient {
  /** Sends any command. */
  sendCommand(args: readonly string[]): Promise<unknown>;
  /** Another client with the same options. */
  duplicate(overrides?: object): NodeRedisClient;
  /** Connects. */
  connect(): Promise<unknown>;
  /** Listens to a channel. */
  subscribe(channel: string, listener: (message: string, channel: string) => unknown): Promise<void>;
  /** The opposite. */
  unsubscribe(channel: string): Promise<void>;
  /** Node's events. */
  on(event: string, listener: (error?: unknown) => void): unknown;
  /** Closes at once. */
  destroy(): void;
}

/** Bun's `RedisClient`, as far as it is used. */
export interface BunRedisClient {
  /** Sends any command. */
  send(command: string, args: string[]): Promise<unknown>;
  /** Another client with the same options, connected. */
  duplicate(): Promise<BunRedisClient>;
  /** Listens to a channel. */
  subscribe(channel: string, listener: (message: string, channel: string) => unknown): Promise<unknown>;
  /** The opposite. */
  unsubscribe(channel: string): Promise<unknown>;
  /** Called when the connection has ended. */
  onclose: ((error: Error) => void) | null;
  /** Closes at once. */
  close(): void;
}

/** A client that somebody else opened, configured and will close. */
export type RedisClient = IoredisClient | NodeRedisClient | BunRedisClient;

/** Whether something is a client rather than options for one. */
export function isClient(target: object): target is RedisClient {
  return "duplicate" in target && typeof target.duplicate === "function";
}

/**
 * Commands go through the client as it is; whatever it repeats, delays or prefixes does no harm.
 * Messages come over a duplicate of ours, since listening could put the client into another mode.
 */
export function openClient(client: RedisClient, request: LinkRequest): Promise<Link> {
  if ("call" in client) return openIoredis(client as Redis | Cluster, request);
  if ("sendCommand" in client) return openNodeRedis(client, request);
  return openBun(client, request);
}

async function openIoredis(client: Redis | Cluster, request: LinkRequest): Promise<Link> {
  if (client.isCluster) {
    const cluster = client as Cluster;
    await cluster.call("PING"); // connects one that waits for its first command
    return await listenInCluster(cluster, request, () => {});
  }
  const messages = await new Plain((client as Redis).duplicate(SAFE), request).open(true);
  const send = (command: string, args: readonly (string | number)[]) => client.call(command, ...args);
  return {
    keyPrefix: client.options.keyPrefix ?? "",
    cluster: false,
    get usable() {
      return messages.usable;
    },
    send,
    subscribe: async (channel) => void await messages.client.subscribe(channel),
    unsubscribe: async (channel) => void await messages.client.unsubscribe(channel),
    scan: (pattern) => scan((args) => send("SCAN", args), pattern),
    close: () => messages.close(),
  };
}

async function openNodeRedis(client: NodeRedisClient, request: LinkRequest): Promise<Link> {
  const messages = client.duplicate({ socket: { ...socketOf(client), reconnectStrategy: false } });
  let open = true;
  const down = (error?: unknown) => {
    if (!open) return;
    open = false;
    request.down(error ?? new Error("the connection was closed"));
  };
  const hear = (message: string, channel: string) => request.message(channel, message);
  const close = () => {
    if (!open) return;
    open = false;
    messages.destroy();
  };
  messages.on("error", down);
  messages.on("end", () => down());
  await orClose(messages.connect().then(() => messages.subscribe(request.channel, hear)), request, close);
  const send = (command: string, args: readonly (string | number)[]) =>
    client.sendCommand([command, ...args.map(String)]);
  return {
    keyPrefix: "",
    cluster: false,
    get usable() {
      return open;
    },
    send,
    subscribe: (channel) => messages.subscribe(channel, hear),
    unsubscribe: (channel) => messages.unsubscribe(channel),
    scan: (pattern) => scan((args) => send("SCAN", args), pattern),
    close,
  };
}

/** Overrides replace a client's socket options as a whole: what it had must be said again. */
function socketOf(client: NodeRedisClient): object {
  const { options } = client as { options?: { socket?: object } };
  return options?.socket ?? {};
}

async function openBun(client: BunRedisClient, request: LinkRequest): Promise<Link> {
  const messages = await client.duplicate();
  const hear = (message: string, channel: string) => request.message(channel, message);
  let open = true;
  const close = () => {
    open = false;
    messages.close();
  };
  messages.onclose = (error) => {
    if (!open) return;
    close(); // or it would connect again
    request.down(error);
  };
  await orClose(messages.subscribe(request.channel, hear), request, close);
  const send = (command: string, args: readonly (string | number)[]) =>
    client.send(command, args.map(String));
  return {
    keyPrefix: "",
    cluster: false,
    get usable() {
      return open;
    },
    send,
    subscribe: async (channel) => void await messages.subscribe(channel, hear),
    unsubscribe: async (channel) => void await messages.unsubscribe(channel),
    scan: (pattern) => scan((args) => send("SCAN", args), pattern),
    close,
  };
}

/** Waits for a connection of ours to be ready, and closes it if it does not get so. */
async function orClose(
  ready: Promise<unknown>,
  { abandoned }: LinkRequest,
  close: () => void,
): Promise<void> {
  abandoned.addEventListener("abort", close);
  try {
    await ready;
    abandoned.throwIfAborted();
  } catch (error) {
    close();
    throw error;
  } finally {
    abandoned.removeEventListener("abort", close);
  }
}
