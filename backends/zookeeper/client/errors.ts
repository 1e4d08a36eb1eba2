import { refused as refusal } from "../../shared/errors.ts";

/** Codes that need more than a report. */
export const code = {
  unimplemented: -6,
  noNode: -101,
  noAuth: -102,
  nodeExists: -110,
  sessionExpired: -112,
  invalidAcl: -114,
  authFailed: -115,
  sessionMoved: -118,
} as const;

/** What a refusal means; `hint`: what to do where waiting does not help. */
const REFUSALS: Record<number, { readonly means: string; readonly hint?: string }> = {
  [-4]: { means: "connection lost" },
  [-5]: { means: "marshalling error" },
  [code.unimplemented]: { means: "not implemented", hint: "use ZooKeeper 3.5 or later" },
  [-7]: { means: "operation timeout" },
  [-8]: { means: "bad arguments" },
  [code.noNode]: { means: "no such node" },
  [code.noAuth]: {
    means: "no permission: the node's ACL does not allow it with these credentials",
    hint: "give zookeeper() the username and password that its nodes were created with",
  },
  [-103]: { means: "bad version" },
  [-108]: { means: "ephemeral nodes have no children" },
  [code.nodeExists]: { means: "node exists" },
  [-111]: { means: "node not empty" },
  [code.sessionExpired]: { means: "session expired" },
  [code.invalidAcl]: {
    means: "invalid ACL",
    hint: "give zookeeper() a username and password that the server knows",
  },
  [code.authFailed]: {
    means: "authentication failed",
    hint: "check the username and password of zookeeper()",
  },
  [code.sessionMoved]: { means: "session moved to another server" },
  [-119]: { means: "server not running" },
  [-121]: { means: "no such watch" },
  [-125]: { means: "quota exceeded" },
  [-127]: { means: "throttled" },
};

/** The server refused a request. */
export class ZooKeeperError extends Error {
  override readonly name = "ZooKeeperError";
  /** The server's own. */
  readonly code: number;

  /** Says what the code means. */
  constructor(code: number) {
    super(`ZooKeeper answered ${code}: ${REFUSALS[code]?.means ?? "an error without a name"}`);
    this.code = code;
  }

  /** The request had no effect. (A fault of the system, above -100, leaves that open.) */
  get final(): boolean {
    return this.code <= -100 || this.code === code.unimplemented;
  }
}

/** Whether the server said so. */
export function failedWith(error: unknown, ...codes: number[]): boolean {
  return error instanceof ZooKeeperError && codes.includes(error.code);
}

/** For `catch`: `undefined` instead of these refusals. */
export function ignore(...codes: number[]): (error: unknown) => undefined {
  return (error) => {
    if (!failedWith(error, ...codes)) throw error;
    return undefined;
  };
}

/** The connection is gone, or of no use: what was pending may have been done or not. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** The session is over: every node of it is gone. */
export class SessionEnded extends Error {
  override readonly name = "SessionEnded";
}

/** The error to report: one that waiting does not mend says so, and what to do. */
export function refused(what: string, error: unknown): unknown {
  const hint = error instanceof ZooKeeperError ? REFUSALS[error.code]?.hint : undefined;
  if (hint === undefined) return error;
  return refusal(what, (error as ZooKeeperError).message, { hint, retryable: false }, error);
}
