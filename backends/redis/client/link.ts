/**
 * One connection to Redis, whichever client makes it: all that the backend needs of one. Whether messages
 * still come over it is not for the link to find out: {@linkcode Echo} does, for every kind, with `send`.
 */
export interface Link {
  /** Sends one command; in a Cluster to the node of its first key. */
  send(command: string, args: readonly (string | number)[]): Promise<unknown>;
  /** Resolves once the server has confirmed: from then on every message arrives. */
  subscribe(channel: string): Promise<void>;
  /** The opposite. */
  unsubscribe(channel: string): Promise<void>;
  /** The names of all keys that match a pattern. */
  scan(pattern: string): Promise<string[]>;
  /** What the client puts before every key by itself, and not before channels. */
  readonly keyPrefix: string;
  /** Whether the keys of one command must share a slot. */
  readonly cluster: boolean;
  /**
   * Whether a channel with the name of a key in braces is known to the node of that key alone (`SSUBSCRIBE`), since
   * Redis 7.0 in a Cluster.
   */
  readonly sharded?: boolean;
  /** Where messages come by more connections than that of the process's own channel: resolves if all of them answer. */
  probe?(): Promise<unknown>;
  /** Whether the connections that were opened for it still stand; known before `down` is told. */
  readonly usable: boolean;
  /** Closes what was opened for it. */
  close(): void;
}

/** What a link is opened for. */
export interface LinkRequest {
  /** Subscribed to from the start. */
  readonly channel: string;
  /** Aborts if no call waits for the link any more, before the link stands. */
  readonly abandoned: AbortSignal;
  /** A message on a channel subscribed to. */
  message(channel: string, text: string): void;
  /** Messages may have been missed, and the link is of no more use. Called at most once. */
  down(error: unknown): void;
}

/** Opens a link; rejects if it cannot. */
export type Opener = (request: LinkRequest) => Promise<Link>;

/** How to get to a target, and what to call it in messages. */
export interface Route {
  /** Opens a link. */
  readonly open: Opener;
  /** Without credentials. */
  readonly place: string;
  /** Whether the place tells one server from others: that of a locator, or of a client, does not. */
  readonly named: boolean;
  /** Whether it is known to lead to a Cluster. */
  readonly cluster: boolean;
}
