import type { LossReason } from "./backend.ts";
import type { Json } from "./options.ts";
import { ours, plainError } from "./plain.ts";

/** Base of every error this package makes. Bad input is a `TypeError` or `RangeError` instead. */
export class LockError extends Error {
  /** The name of the class, whatever a minifier made of it. */
  override readonly name: string = "LockError";
  /** What kind of error this is, for `switch`. */
  readonly code: "lost" | "released" | "closed" | "backend" | "quorum" | "stale";

  /** For the subclasses. */
  constructor(code: LockError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    ours.add(this);
    this.code = code;
  }

  /** For `JSON.stringify`: also the message and the causes, each by name, code and message. */
  toJSON(): Json {
    return plainError(this);
  }
}

/** The lock can no longer be proven held. Another process may hold it now. */
export class LockLostError extends LockError {
  /** The name of the class, whatever a minifier made of it. */
  override readonly name = "LockLostError";
  /** For `switch`. */
  declare readonly code: "lost";
  /** The key of the lock. */
  readonly key: string;
  /**
   * "expired": not renewed in time, as far as this process can tell; "revoked": the store has
   * dropped it; "stolen": somebody took it with `steal`.
   */
  readonly why: LossReason;

  /** Says which lock, and why. */
  constructor(key: string, why: LossReason) {
    super("lost", `Lock ${JSON.stringify(key)} was lost: ${LOSSES[why]}`);
    this.key = key;
    this.why = why;
  }
}

/** What is said of a loss, after whose it is. */
export const LOSSES: Readonly<Record<LossReason, string>> = {
  expired: "it was not renewed before its ttl ran out",
  revoked: "the store no longer has it",
  stolen: "another client took it by force",
};

/** The lock was released by its holder: nothing went wrong, but it protects nothing any more. */
export class LockReleasedError extends LockError {
  /** The name of the class, whatever a minifier made of it. */
  override readonly name = "LockReleasedError";
  /** For `switch`. */
  declare readonly code: "released";
  /** The key of the lock. */
  readonly key: string;

  /** Says which lock. */
  constructor(key: string) {
    super("released", `Lock ${JSON.stringify(key)} was released`);
    this.key = key;
  }
}

/** The manager was closed before the call or during it. */
export class ManagerClosedError extends LockError {
  /** The name of the class, whatever a minifier made of it. */
  override readonly name = "ManagerClosedError";
  /** For `switch`. */
  declare readonly code: "closed";

  /** Says what was refused. */
  constructor(what: string) {
    super("closed", `Cannot ${what}: the lock manager is closed`);
  }
}

/** Options of a {@linkcode BackendError}. */
export interface BackendErrorOptions extends ErrorOptions {
  /** Whether repeating the call can help. `false`: it is refused for good and had no effect. @default true */
  readonly retryable?: boolean;
}

/** The store could not be asked, or gave no usable answer. The client's own error is the `cause`. */
export class BackendError extends LockError {
  /** The name of the class, whatever a minifier made of it. */
  override readonly name: string = "BackendError";
  /** For `switch`. */
  declare readonly code: "backend" | "quorum";
  /** Whether repeating the call can help; the core does so for `retryFor` milliseconds. */
  readonly retryable: boolean;

  /** With what was tried and what to do. */
  constructor(message: string, options: BackendErrorOptions = {}, code: "backend" | "quorum" = "backend") {
    super(code, message, options);
    this.retryable = options.retryable ?? true;
  }
}

/** What one node of a quorum answered. */
export interface Vote {
  /** Which node, without credentials. */
  readonly node: string;
  /** "granted", "refused" (somebody else has it there), "excluded" (kept out until it is safe) or "failed". */
  readonly answer: "granted" | "refused" | "excluded" | "failed";
  /** Why, where it failed. */
  readonly error?: unknown;
}

/** Too few nodes answered for a majority. */
export class QuorumError extends BackendError {
  /** The name of the class, whatever a minifier made of it. */
  override readonly name = "QuorumError";
  /** For `switch`. */
  declare readonly code: "quorum";
  /** What each node said. */
  readonly votes: readonly Vote[];

  /** With every vote. */
  constructor(message: string, votes: readonly Vote[], options?: BackendErrorOptions) {
    super(message, options, "quorum");
    this.votes = votes;
  }
}
