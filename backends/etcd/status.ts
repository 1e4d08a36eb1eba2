import { BackendError } from "../../internal/errors.ts";

const INVALID_ARGUMENT = 3;
const DEADLINE_EXCEEDED = 4;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const UNAVAILABLE = 14;

/** gRPC's codes after which another member, or a new connection, may do better. */
const BROKEN = new Set([
  1, /* CANCELLED */
  2, /* UNKNOWN */
  DEADLINE_EXCEEDED,
  13, /* INTERNAL */
  UNAVAILABLE,
]);

/** What etcd, or the way to it, says instead of an answer. */
export class EtcdError extends Error {
  /** For messages. */
  override readonly name = "EtcdError";
  /** gRPC's status code. */
  readonly code: number;

  /** It never left this process. */
  readonly unsent: boolean;

  constructor(code: number, message: string, options: ErrorOptions & { unsent?: boolean } = {}) {
    super(message, options);
    this.code = code;
    this.unsent = options.unsent ?? false;
  }

  /** The connection failed. What had been sent may have arrived. */
  static unavailable(message: string, cause?: unknown): EtcdError {
    return new EtcdError(UNAVAILABLE, message, cause === undefined ? {} : { cause });
  }

  /** Nothing came back in time; `busy`: to this call, while others were answered. */
  static unanswered(timeout: number, busy: boolean): EtcdError {
    return new EtcdError(
      busy ? RESOURCE_EXHAUSTED : DEADLINE_EXCEEDED,
      `no answer within ${Math.round(timeout)} ms`,
    );
  }

  /** It had no turn in time. */
  static unsent(timeout: number): EtcdError {
    const message = `too many calls are under way; this one had no turn within ${Math.round(timeout)} ms`;
    return new EtcdError(RESOURCE_EXHAUSTED, message, { unsent: true });
  }
}

/** Whether to leave the connection on which this happened. */
export function isBroken(error: unknown): boolean {
  return error instanceof EtcdError && BROKEN.has(error.code);
}

/** The lease does not exist: by the word of every member, for it is found out in raft's order. */
export function isLeaseGone(error: unknown): boolean {
  return says(error, "requested lease not found");
}

/** The token has expired, or users and roles have changed: nothing was done, a new one is needed. */
export function isStaleToken(error: unknown): boolean {
  return says(error, "invalid auth token") || says(error, "revision of auth store is old");
}

/** A login where none is needed. */
export function isLoginNeedless(error: unknown): boolean {
  return says(error, "authentication is not enabled");
}

/** What no repetition will change, in words that say what to do. */
export function refusal(error: unknown): BackendError | undefined {
  if (!(error instanceof EtcdError) || isStaleToken(error)) return undefined;
  const final = (message: string) =>
    new BackendError(`Cannot use etcd: ${message}`, { cause: error, retryable: false });
  if (says(error, "authentication failed")) {
    return final("it does not accept the username and password; check both");
  }
  if (says(error, "user name is empty")) return final("it asks for a user; give username and password");
  if (error.code === PERMISSION_DENIED) {
    return final("the user may not do this; grant it read and write on the prefix of the locks");
  }
  if (error.code === INVALID_ARGUMENT || error.code === FAILED_PRECONDITION) {
    return final(`it refuses the request (${error.message})`);
  }
  return undefined;
}

function says(error: unknown, text: string): boolean {
  return error instanceof EtcdError && error.message.includes(text);
}
