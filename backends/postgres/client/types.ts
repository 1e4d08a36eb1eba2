/** What `postgres()` of the package `postgres` 3 returns, as far as it is told by its type. */
export interface PostgresJsClient {
  /** What it was made with. */
  readonly options: object;
  /** Sends statements as they are. */
  unsafe(text: string): PromiseLike<unknown>;
  /** Hears of notifications. */
  listen(channel: string, listener: (payload: string) => void): Promise<unknown>;
  /** Closes it. */
  end(options?: { readonly timeout?: number | undefined }): Promise<void>;
}

/** `Pool` of the package `pg` 8, as far as it is told by its type. */
export interface PgPool {
  /** How many connections there are. */
  readonly totalCount: number;
  /** How many of them are at rest. */
  readonly idleCount: number;
  /** Lends a connection. */
  connect(): Promise<unknown>;
  /** Sends a query. */
  query(...args: never[]): unknown;
}

/** Bun's `SQL`, for Postgres, as far as it is told by its type. */
export interface BunSql {
  /** What it was made with. */
  readonly options: object;
  /** Sends statements as they are. */
  unsafe(text: string): PromiseLike<unknown>;
  /** Lends a connection. */
  reserve(): Promise<unknown>;
  /** Sends what waits to be sent. */
  flush(): void;
}

/** A client that its owner has made, and will close. */
export type PostgresClient = PostgresJsClient | PgPool | BunSql;
