import type { BackendError } from "../../../internal/errors.ts";
import { type Meaning, meaningOf, type Refusals, refused } from "../../shared/errors.ts";

const INVALID_ARGUMENT = 3;
const DEADLINE_EXCEEDED = 4;
/** gRPC's code for who may not do that. */
export const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const INTERNAL = 13;
const UNAVAILABLE = 14;

/** What etcd, or the way to it, says instead of an answer. */
export class EtcdError extends Error {
  /** For messages. */
  override readonly name = "EtcdError";
  /** gRPC's status code. */
  readonly code: number;

  /** The call never left this process, or the server says that it has not looked at it. */
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

  /** No member could be asked. */
  static unreachable(message: string, cause?: unknown): EtcdError {
    return new EtcdError(UNAVAILABLE, message, { unsent: true, ...(cause !== undefined && { cause }) });
  }

  /** Nothing comes back, not even the answer to a ping. */
  static silent(message: string): EtcdError {
    return new EtcdError(DEADLINE_EXCEEDED, message);
  }

  /** What has come cannot be from etcd, or not in answer to what was asked. */
  static unreadable(what: string, cause?: unknown): EtcdError {
    const message = `what comes back is not etcd's: ${what}`;
    return new EtcdError(INTERNAL, message, cause === undefined ? {} : { cause });
  }

  /** Nothing came back in time; `busy`: to this call, while others were answered. */
  static unanswered(timeout: number, busy: boolean): EtcdError {
    return new EtcdError(
      busy ? RESOURCE_EXHAUSTED : DEADLINE_EXCEEDED,
      `no answer within ${Math.round(timeout)} ms`,
    );
  }

  /** The call had no turn in time. */
  static unsent(timeout: number): EtcdError {
    const message = `too many calls are under way; this one had no turn within ${Math.round(timeout)} ms`;
    return new EtcdError(RESOURCE_EXHAUSTED, message, { unsent: true });
  }
}

/**
 * Whether to leave the connection on which this happened: another member, or a new connection, may do
 * better. That is what gRPC says of connections and of members without a leader, and all that etcd
 * itself has not said, such as a proxy's 403 or "unimplemented".
 */
export function isBroken(error: unknown): boolean {
  if (!(error instanceof EtcdError) || error.unsent || error.code === RESOURCE_EXHAUSTED) return false;
  return error.code === UNAVAILABLE || !isEtcds(error);
}

/** Whether nothing came back at all. */
export function isSilence(error: unknown): boolean {
  return error instanceof EtcdError && error.code === DEADLINE_EXCEEDED && !isEtcds(error);
}

/** Whether this is etcd's word, rather than that of something on the way to it. */
function isEtcds(error: EtcdError): boolean {
  return error.message.startsWith("etcdserver: ") || error.message.startsWith("auth: ");
}

/** etcd says that the lease does not exist, without a header that would tell of what cluster it is. */
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

/** Who may not do what, for errors. */
export interface Asked {
  /** Whose permissions count. */
  readonly user: string | undefined;
  /** What all keys begin with that the request is about, if it is about keys. */
  readonly prefix: string | undefined;
}

/** What no repetition will change; only etcd's own word counts. */
const REFUSALS: Refusals = [
  [/authentication failed/, { hint: "check the username and password" }],
  [/user name is empty/, { hint: "give username and password" }],
  [`${INVALID_ARGUMENT}`, {}],
  [`${FAILED_PRECONDITION}`, {}],
];

/** etcd's refusal, if it is one that no repetition will change. */
export function refusal(error: unknown, asked: Asked): BackendError | undefined {
  if (!(error instanceof EtcdError) || isStaleToken(error) || !isEtcds(error)) return undefined;
  const meaning = meaningOf(REFUSALS, [`${error.code}`], [error.message]) ??
    (error.code === PERMISSION_DENIED ? forbidden(asked) : undefined);
  return meaning && refused("use etcd", error.message, { ...meaning, retryable: false }, error);
}

function forbidden({ user, prefix }: Asked): Meaning {
  const who = user === undefined ? "whoever has this client certificate" : `user ${JSON.stringify(user)}`;
  const range = prefix === undefined ? "all that is asked for" : `what begins with ${JSON.stringify(prefix)}`;
  const grant = `etcdctl role grant-permission ROLE --prefix readwrite ${JSON.stringify(prefix ?? "PREFIX")}`;
  return { hint: `${who} may not read and write ${range}; grant it with ${grant}` };
}

function says(error: unknown, text: string): boolean {
  return error instanceof EtcdError && error.message.includes(text);
}
