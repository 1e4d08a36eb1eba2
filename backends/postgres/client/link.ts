/** One row, its columns in order and as text. */
export type Row = readonly (string | null)[];

/** A way to one Postgres server: a connection of our own, or a client that was handed in. */
export interface Link {
  /**
   * Sends statements as they are, by the simple protocol: one message, one answer, and one transaction for all of
   * them. Resolves with the rows of the last one; a rejection is the client's own error.
   */
  query(text: string): Promise<readonly Row[]>;
  /** The number that the server process gave when the connection was made, where the client tells. */
  readonly pid?: number;
  /** Closes what was opened for it; what is still asked is rejected. */
  close(): void;
}

/** What a link is opened for. */
export interface LinkRequest {
  /** Aborts if no call waits for the link any more, before the link stands. */
  readonly abandoned: AbortSignal;
  /** The connection has ended by itself. Called at most once, and not for one that was closed. */
  down(error: unknown): void;
  /** A notification, on whatever channel the link listens to. */
  notified?(channel: string, payload: string): void;
}

/** Opens a link; rejects if it cannot. */
export type Opener = (request: LinkRequest) => Promise<Link>;

/** How to get to the server. */
export interface Route {
  /** Without credentials, for messages. */
  readonly place: string;
  /** Opens a link for calls. */
  readonly open: Opener;
  /** Opens a connection of our own that hears notifications; absent where there is no way to one. */
  readonly listen?: Opener;
  /** What the tables are in. */
  readonly schema: string;
}
