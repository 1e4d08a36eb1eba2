import type { BackendError } from "./errors.ts";
import type { Lock } from "./lock.ts";
import type { Want } from "./options.ts";

/** An acquisition that somebody asks for, by whichever method of a manager. Its input has been checked. */
export interface Asked {
  /** As asked for. */
  readonly keys: readonly string[];
  /** What is wanted of each. */
  readonly want: Want;
  /** The name of the backend. */
  readonly backend: string;
}

/** Follows one acquisition. None of its methods may throw. */
export interface Follower {
  /** What is wanted instead: the metadata may say more. */
  readonly want: Want;
  /** Another claim holds; called once. */
  waiting(): void;
  /** A call to the store failed. */
  failed(error: BackendError): void;
  /** It is granted. */
  acquired(lock: Lock): void;
  /** Takes what the caller is to be given, and gives the same, once it has looked at it. */
  answered(result: Promise<Lock | undefined>): Promise<Lock | undefined>;
}

/**
 * Looks at a manager from within, for telemetry: it is called where the caller is, in the caller's asynchronous
 * context, and can tell one acquisition from another, which events cannot. It may not throw; `undefined` leaves
 * an acquisition alone.
 */
export type Observer = (asked: Asked) => Follower | undefined;
