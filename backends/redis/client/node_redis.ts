import { refused } from "../../shared/errors.ts";
import { NodeRedisConnection, type Theirs } from "./node_redis_connection.ts";
import { orClose } from "./opening.ts";
import { ClusterEars, HAS_SHARDS, type Slots } from "./cluster_ears.ts";
import type { Link, LinkRequest } from "./link.ts";
import { scan } from "./server_link.ts";

/** Any of the clients, as far as they have something in common that is used. */
interface Any {
  readonly isOpen: boolean;
  /** Version 6.1 and later: what its own methods put before keys, and `sendCommand` does not. */
  readonly _keyPrefix?: string;
}

/** What `createClient` returns, as far as it is used. */
export type TheirClient = Theirs & Any;

/** What `createClientPool` returns, as far as it is used. */
export interface TheirPool extends Any {
  execute(use: (client: Theirs) => Theirs): Promise<Theirs>;
}

/** What `createSentinel` returns, as far as it is used. */
export interface TheirSentinel extends Any {
  _execute(readOnly: boolean, use: (master: Theirs) => Promise<Theirs>): Promise<Theirs>;
}

/** What `createCluster` returns, as far as it is used. */
export interface TheirCluster extends Any {
  readonly masters: readonly { readonly address: string }[];
  /** By their numbers. */
  readonly slots: readonly ({ readonly master: { readonly address: string } } | undefined)[];
  nodeClient(node: object): Theirs | Promise<Theirs>;
  sendCommand(key: string | undefined, readOnly: boolean, args: string[], options: object): Promise<unknown>;
}

/** Sends a command, with its keys as they are on the server. */
type Send = (args: string[], key?: string) => Promise<unknown>;

/** Whatever the client's options say: replies are as the server sent them, and calls stay in order. */
const PLAIN = { typeMapping: {}, asap: false, abortSignal: undefined };

/** Through a client of one server. */
export async function openNodeRedis(client: TheirClient, request: LinkRequest): Promise<Link> {
  checkOpen(client);
  const messages = await NodeRedisConnection.open(client, request, true);
  return new NodeRedisLink(client, (args) => client.sendCommand(args, PLAIN), [messages]);
}

/** By connections like those of a pool, since calls that go by several of them may overtake each other. */
export function openNodeRedisPool(pool: TheirPool, request: LinkRequest): Promise<Link> {
  return openLike(pool, () => pool.execute((client) => client), request);
}

/** By connections like those to the master, which is asked for again whenever one breaks. */
export function openNodeRedisSentinel(sentinel: TheirSentinel, request: LinkRequest): Promise<Link> {
  return openLike(sentinel, () => sentinel._execute(false, (master) => Promise.resolve(master)), request);
}

async function openLike(all: Any, lend: () => Promise<Theirs>, request: LinkRequest): Promise<Link> {
  checkOpen(all);
  const one = await orClose(lend(), request, () => {});
  const messages = await NodeRedisConnection.open(one, request, true);
  try {
    const commands = await NodeRedisConnection.open(one, request, false);
    return new NodeRedisLink(all, (args) => commands.send(args, PLAIN), [messages, commands]);
  } catch (error) {
    messages.close();
    throw error;
  }
}

/** Through a client of a Cluster; messages by a connection like that to one of its masters. */
export async function openNodeRedisCluster(cluster: TheirCluster, request: LinkRequest): Promise<Link> {
  checkOpen(cluster);
  const { masters } = cluster;
  const master = masters[Math.floor(Math.random() * masters.length)];
  if (master === undefined) throw new Error("the Cluster has no master");
  const one = await orClose(Promise.resolve(cluster.nodeClient(master)), request, () => {});
  const messages = await NodeRedisConnection.open(one, request, true);
  const send: Send = (args, key) => cluster.sendCommand(key, false, args, PLAIN);
  try {
    const sharded = Number(await send(["EVAL", HAS_SHARDS, "0"])) === 1;
    return new NodeRedisLink(
      cluster,
      send,
      [messages],
      cluster,
      sharded ? slotsOf(cluster, request) : undefined,
    );
  } catch (error) {
    messages.close();
    throw error;
  }
}

/** node-redis itself looks for the slots again when a command is told that one has moved. */
function slotsOf(cluster: TheirCluster, request: LinkRequest): Slots {
  return {
    node: (slot) => cluster.slots[slot]?.master.address,
    refresh: () => {},
    async open(address) {
      const node = cluster.masters.find((master) => master.address === address);
      if (node === undefined) throw new Error("TRYAGAIN the node of a channel is away");
      const ear = await NodeRedisConnection.open(await cluster.nodeClient(node), request, false);
      return {
        subscribe: (channel) => ear.listen(channel),
        unsubscribe: (channel) => ear.leave(channel),
        ping: () => ear.ping(),
        close: () => ear.close(),
      };
    },
  };
}

class NodeRedisLink implements Link {
  readonly keyPrefix: string;
  readonly cluster: boolean;
  readonly #send: Send;
  /** The first is the one by which messages come. */
  readonly #own: readonly [NodeRedisConnection, ...NodeRedisConnection[]];
  readonly #nodes: TheirCluster | undefined;
  readonly #ears: ClusterEars;

  constructor(
    { _keyPrefix }: Any,
    send: Send,
    own: readonly [NodeRedisConnection, ...NodeRedisConnection[]],
    nodes?: TheirCluster,
    slots?: Slots,
  ) {
    this.keyPrefix = _keyPrefix ?? "";
    this.cluster = nodes !== undefined;
    this.#send = send;
    this.#own = own;
    this.#nodes = nodes;
    this.#ears = new ClusterEars(own[0], slots);
  }

  get sharded(): boolean {
    return this.#ears.sharded;
  }

  get usable(): boolean {
    return this.#own.every(({ usable }) => usable);
  }

  send(command: string, args: readonly (string | number)[]): Promise<unknown> {
    const sent = [command, ...args.map(String)];
    const keys = /^EVAL(SHA)?$/.test(command) ? Number(args[1]) : 0;
    for (let at = 3; at < 3 + keys; at++) sent[at] = this.keyPrefix + sent[at];
    return this.#send(sent, keys > 0 ? sent[3] : undefined);
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
    const sends: Send[] = this.#nodes === undefined
      ? [this.#send]
      : this.#nodes.masters.map((node) => async (args) => {
        return (await this.#nodes!.nodeClient(node)).sendCommand(args, PLAIN);
      });
    return (await Promise.all(sends.map((send) => scan((args) => send(["SCAN", ...args]), pattern)))).flat();
  }

  close(): void {
    for (const own of this.#own) own.close();
    this.#ears.close();
  }
}

function checkOpen({ isOpen }: Any): void {
  if (isOpen) return;
  const meaning = { hint: "call its connect()", retryable: false };
  throw refused("ask Redis by the client handed in", "it is not connected", meaning);
}
