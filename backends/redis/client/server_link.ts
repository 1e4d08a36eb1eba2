import process from "node:process";
import type { Redis, RedisOptions } from "ioredis";
import type { Link, LinkRequest } from "./link.ts";
import { ours } from "./ours.ts";

/**
 * Nothing is ever sent twice, sent late or kept for later: a call either reaches the server now or
 * rejects. A connection that breaks is never repaired; the next call opens another.
 */
export const SAFE: RedisOptions = {
  lazyConnect: true,
  retryStrategy: null,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  enableAutoPipelining: false,
  reconnectOnError: null,
  disableClientInfo: true,
  disconnectTimeout: 100,
  keyPrefix: "",
  stringNumbers: false,
  replyMapping: "legacy",
};

/** A Sentinel's answer may be stale: the ready check asks the server itself whether it is the master. */
const SENTINEL: RedisOptions = {
  role: "master",
  enableReadyCheck: true,
  failoverDetector: true,
  sentinelRetryStrategy: () => null,
  sentinelCommandTimeout: 2_000,
};

/** One connection of our own, which reports its end and its messages. */
export class Plain {
  readonly client: Redis;
  readonly #request: LinkRequest;
  #error: unknown;
  #open = false;
  /** How many commands this turn of the event loop has sent. */
  #turn = 0;
  #corked: Redis["stream"] | undefined;

  constructor(client: Redis, request: LinkRequest) {
    this.client = ours(client);
    this.#request = request;
    client.on("connect", () => this.#error = undefined);
    client.on("error", (error) => this.#error = error);
    client.on("message", (channel, text) => request.message(channel, text));
    client.on("smessage", (channel, text) => request.message(channel, text));
    client.on("moved", () => this.#moved());
    client.on("end", () => {
      // For ioredis forgets the connections by which it hears of a failover if it did not end this one itself,
      // or was told to before they stood: they would reconnect for ever.
      client.disconnect();
      if (!this.#open) return;
      this.#open = false;
      request.down(this.#error ?? new Error("the connection was closed"));
    });
  }

  /** Connects, and subscribes if messages are to come this way. */
  async open(messages: boolean): Promise<this> {
    const { abandoned, channel } = this.#request;
    const abandon = () => this.close();
    abandoned.addEventListener("abort", abandon);
    try {
      abandoned.throwIfAborted();
      await this.client.connect();
      // A database that the server has refused is told by an event alone, and ioredis would go on in another.
      if (this.#error !== undefined) throw this.#error;
      if (messages) await this.client.subscribe(channel);
    } catch (error) {
      this.close();
      // What came of `connect` is only that the connection was closed.
      throw abandoned.aborted ? error : cutOff(this.#error ?? error);
    } finally {
      abandoned.removeEventListener("abort", abandon);
    }
    this.#open = true;
    return this;
  }

  /** Commands fail before the end of the connection is reported, and before ioredis says that it is not ready. */
  get usable(): boolean {
    return this.client.status === "ready" && this.client.stream.writable;
  }

  /** Sends one command. What follows in the same turn of the event loop leaves together, at half the cost. */
  send(command: string, args: readonly (string | number)[]): Promise<unknown> {
    const { stream } = this.client;
    if (++this.#turn === 1) process.nextTick(this.#turned);
    else if (this.#turn === 2) {
      this.#corked = stream;
      stream.cork();
    }
    return this.client.call(command, ...args);
  }

  readonly #turned = (): void => {
    this.#turn = 0;
    this.#corked?.uncork();
    this.#corked = undefined;
  };

  /** The server serves the slot of a channel no longer. */
  #moved(): void {
    if (!this.#open) return;
    this.close();
    this.#request.down(new Error("the slot of a channel has moved to another node"));
  }

  /** Ends it without a report. */
  close(): void {
    this.#open = false;
    this.client.disconnect();
  }

  /** Another one to the same server. */
  another(): Plain {
    return new Plain(this.client.duplicate(), this.#request);
  }
}

/** Why a connection may have ended before the server said anything. */
function cutOff(error: unknown): unknown {
  const { message, code } = error as { message?: string; code?: string };
  if (message !== "Connection is closed." && code !== "ECONNRESET") return error;
  return new Error("the server has closed the connection before it said anything", { cause: error });
}

/** Connects to one server, or to the master that Sentinels name, and subscribes if messages are to come. */
export async function dialServer(
  options: RedisOptions,
  request: LinkRequest,
  messages: boolean,
): Promise<Plain> {
  const { Redis } = await import("ioredis");
  const kind = options.sentinels ? SENTINEL : { enableReadyCheck: false };
  const client = new Redis({ connectTimeout: 5_000, ...options, ...kind, ...SAFE });
  return await new Plain(client, request).open(messages);
}

/** Opens a connection of our own to one server, or to the master that Sentinels name. */
export async function openServer(options: RedisOptions, request: LinkRequest): Promise<Link> {
  const messages = await dialServer(options, request, true);
  // With RESP3 a connection that has subscribed can still send commands.
  if (messages.client.mode !== "subscriber") return new ServerLink(messages, messages);
  try {
    return new ServerLink(messages, await messages.another().open(false));
  } catch (error) {
    messages.close();
    throw error;
  }
}

class ServerLink implements Link {
  readonly keyPrefix = "";
  readonly cluster = false;
  readonly #messages: Plain;
  readonly #commands: Plain;

  constructor(messages: Plain, commands: Plain) {
    this.#messages = messages;
    this.#commands = commands;
  }

  get usable(): boolean {
    return this.#messages.usable && this.#commands.usable;
  }

  send(command: string, args: readonly (string | number)[]): Promise<unknown> {
    return this.#commands.send(command, args);
  }

  async subscribe(channel: string): Promise<void> {
    await this.#messages.client.subscribe(channel);
  }

  async unsubscribe(channel: string): Promise<void> {
    await this.#messages.client.unsubscribe(channel);
  }

  scan(pattern: string): Promise<string[]> {
    return scan((args) => this.send("SCAN", args), pattern);
  }

  close(): void {
    this.#messages.close();
    this.#commands.close();
  }
}

/** All keys of one server that match. */
export async function scan(
  send: (args: string[]) => Promise<unknown>,
  pattern: string,
): Promise<string[]> {
  const found = new Set<string>();
  let cursor = "0";
  do {
    const [next, keys] = await send([cursor, "MATCH", pattern, "COUNT", "1000"]) as [string, string[]];
    for (const key of keys) found.add(key);
    cursor = `${next}`;
  } while (cursor !== "0");
  return [...found];
}
