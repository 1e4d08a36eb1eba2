/** `Redis` or `Cluster` of `ioredis` 4 to 6 or of `iovalkey`, as far as it is told by its type. */
export interface IoredisClient {
  /** `"ready"`, `"end"` ... */
  readonly status: string;
  /** Another client with the same options. */
  duplicate(): object;
  /** Closes at once. */
  disconnect(): void;
}

/**
 * What `createClient`, `createCluster`, `createSentinel` or `createClientPool` of `redis` (node-redis) 4 to 6
 * returns, as far as it is told by its type.
 */
export interface NodeRedisClient {
  /** Whether it has been connected, and not been closed since. */
  readonly isOpen: boolean;
  /** Connects. */
  connect(): Promise<unknown>;
  /** Sends any command. */
  sendCommand(...args: never[]): Promise<unknown>;
}

/** Bun's `RedisClient`, as far as it is told by its type. */
export interface BunRedisClient {
  /** Whether it is connected. */
  readonly connected: boolean;
  /** Sends any command. */
  send(command: string, args: string[]): Promise<unknown>;
  /** Another client with the same options. */
  duplicate(): Promise<object>;
}

/** A client that its owner has opened and configured, and will close. */
export type RedisClient = IoredisClient | NodeRedisClient | BunRedisClient;
