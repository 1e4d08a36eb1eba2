import { orClose } from "./opening.ts";
import type { LinkRequest } from "./link.ts";

/** What `createClient` of node-redis returns, as far as it is used. */
export interface Theirs {
  readonly isOpen: boolean;
  readonly isReady: boolean;
  readonly options?: { readonly socket?: object };
  sendCommand(args: readonly string[], options: object): Promise<unknown>;
  duplicate(overrides: object): Theirs;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: (message: string, channel: string) => unknown): Promise<void>;
  unsubscribe(channel: string): Promise<void>;
  sSubscribe(channel: string, listener: (message: string, channel: string) => unknown): Promise<void>;
  sUnsubscribe(channel: string): Promise<void>;
  ping(): Promise<unknown>;
  on(event: string, listener: (error?: unknown) => void): unknown;
  unref(): void;
  /** Version 5 and later: closes at once. */
  destroy?(): void;
  /** Version 4: the same. */
  disconnect(): Promise<void>;
}

/** What a client has for itself alone, or would do by itself. */
const OURS = {
  commandsQueueMaxLength: undefined,
  commandOptions: undefined,
  pingInterval: undefined,
  clientSideCache: undefined,
  emitInvalidate: undefined,
  maintNotifications: "disabled",
};

/** A connection of our own to where a client of theirs is connected. Its end is reported, never repaired. */
export class NodeRedisConnection {
  readonly #client: Theirs;
  readonly #request: LinkRequest;
  /** Its end is reported while it is "open" alone. */
  #state: "opening" | "open" | "closed" = "opening";
  /** Whether there is a socket that can be closed. */
  #connected = false;

  private constructor(like: Theirs, request: LinkRequest) {
    this.#request = request;
    // Overrides replace the socket's options as a whole: what it had must be said again.
    const socket = { ...like.options?.socket, reconnectStrategy: false };
    const client = this.#client = like.duplicate({ ...OURS, socket });
    client.unref();
    client.on("connect", () => {
      this.#connected = true;
      client.unref();
      // Not before the login has begun: version 4 would leave the promise of what it is about to send unhandled.
      if (this.#state === "closed") queueMicrotask(() => this.#end());
    });
    client.on("error", (error) => this.#down(error));
    // Not from within its decoder, which would read the same bytes for ever in version 6, and fail in 4.
    client.on(
      "sharded-channel-moved",
      () => queueMicrotask(() => this.#down(new Error("the slot of a channel has moved to another node"))),
    );
    client.on("end", () => this.#down(new Error("the connection was closed")));
  }

  /** Connects, and subscribes if messages are to come this way. */
  static async open(like: Theirs, request: LinkRequest, messages: boolean): Promise<NodeRedisConnection> {
    const own = new NodeRedisConnection(like, request);
    const connect = async () => {
      await own.#client.connect();
      if (messages) await own.subscribe(request.channel);
    };
    await orClose(connect(), request, () => own.close());
    own.#state = "open";
    return own;
  }

  get usable(): boolean {
    return this.#state === "open" && this.#client.isReady;
  }

  send(args: readonly string[], options: object): Promise<unknown> {
    return this.#client.sendCommand(args, options);
  }

  subscribe(channel: string): Promise<void> {
    return this.#client.subscribe(channel, (message) => this.#request.message(channel, message));
  }

  unsubscribe(channel: string): Promise<void> {
    return this.#client.unsubscribe(channel);
  }

  /** Resolves with any answer; a client that listens can ask no other command than this in all versions. */
  ping(): Promise<unknown> {
    return this.#client.ping();
  }

  /** Listens to a channel of a slot that this node serves. */
  listen(channel: string): Promise<void> {
    return this.#client.sSubscribe(channel, (message) => this.#request.message(channel, message));
  }

  /** The opposite. */
  leave(channel: string): Promise<void> {
    return this.#client.sUnsubscribe(channel);
  }

  /** Ends it without a report. */
  close(): void {
    this.#state = "closed";
    // While it connects, node-redis does not know its socket, and would forget to close it.
    if (this.#connected) this.#end();
  }

  #down(error: unknown): void {
    const told = this.#state === "open";
    this.close();
    if (told) this.#request.down(error);
  }

  /** One that has ended already throws or rejects. */
  #end(): void {
    try {
      if (this.#client.destroy) this.#client.destroy();
      else this.#client.disconnect().catch(() => {});
    } catch {
      // The connection is closed, and that is all that was wanted.
    }
  }
}
