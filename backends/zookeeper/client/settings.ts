import type { Server, Servers } from "./servers.ts";

/** How to reach an ensemble. */
export interface Settings {
  /** The servers as of now. */
  readonly locate: () => Promise<Located>;
  /** What is known of them. */
  readonly servers: Servers;
  /** "user:password". */
  readonly credentials: string | undefined;
  /** Milliseconds. */
  readonly tickTime: number;
}

/** What an address says. */
export interface Located {
  /** One or more. */
  readonly servers: readonly Server[];
  /** "" or "/a/b". */
  readonly chroot: string;
}
