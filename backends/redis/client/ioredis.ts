import type { Cluster, Redis } from "ioredis";
import { listenInCluster } from "./cluster_link.ts";
import type { Link, LinkRequest } from "./link.ts";
import { Plain, SAFE, scan } from "./server_link.ts";

/**
 * Through a client of ioredis 4 to 6, or of iovalkey, which is a copy of ioredis 5: all that is used here is the same
 * in all of them.
 */
export function openIoredis(client: Redis | Cluster, request: LinkRequest): Promise<Link> {
  return client.isCluster ? openCluster(client as Cluster, request) : openServer(client as Redis, request);
}

async function openServer(client: Redis, request: LinkRequest): Promise<Link> {
  const messages = await new Plain(client.duplicate(SAFE), request).open(true);
  const call = caller(client);
  return {
    keyPrefix: `${client.options.keyPrefix ?? ""}`,
    cluster: false,
    get usable() {
      return messages.usable;
    },
    send: (command, args) => call(command, ...args),
    subscribe: async (channel) => void await messages.client.subscribe(channel),
    unsubscribe: async (channel) => void await messages.client.unsubscribe(channel),
    scan: (pattern) => scan((args) => call("SCAN", ...args), pattern),
    close: () => messages.close(),
  };
}

async function openCluster(client: Cluster, request: LinkRequest): Promise<Link> {
  const cluster: Cluster = Object.create(client, { call: { value: caller(client) } });
  await cluster.call("PING"); // connects one that waits for its first command
  return await listenInCluster(cluster, request, () => {});
}

/**
 * Many a version knows where the keys of a command are only if its name is in lower case: else it puts no prefix
 * before them, and sends them to any node of a Cluster. And what many a version makes of commands that it puts into
 * pipelines by itself is wrong: 4 leaves out the name, others take the digest of a script for its key and put
 * commands for several nodes into one. A pipeline of ours, with one command, is left as it is.
 */
function caller(
  client: Redis | Cluster,
): (command: string, ...args: (string | number)[]) => Promise<unknown> {
  return async (command, ...args) => {
    const name = command.toLowerCase();
    if (!client.options.enableAutoPipelining) return await client.call(name, ...args);
    const replies = await client.pipeline().call(name, ...args as string[]).exec();
    const [error, reply] = replies![0]!;
    if (error) throw error;
    return reply;
  };
}
