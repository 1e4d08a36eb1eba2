import type { Settings } from "./address.ts";
import { Connection, ConnectionLost, type Listener, nameOf, type Server } from "./connection.ts";
import { auth, code, failedWith, type Hello } from "./operations.ts";
import { BackendError } from "../../internal/errors.ts";

/** A connection, and the folder its nodes are in. */
export interface Dialled {
  /** Logged in, if there are credentials. */
  readonly connection: Connection;
  /** "" or "/a/b". */
  readonly chroot: string;
}

/** How one connection is made. */
export interface Dial {
  /** Where to. */
  readonly settings: Settings;
  /** Says hello, anew for each server. */
  readonly hello: () => Hello;
  /** Name of the server to try last: the one whose connection has just ended. */
  readonly avoid?: string | undefined;
  /** Milliseconds that any one answer may take. */
  readonly patience: number;
  /** Told about the connection that is returned, and no other. */
  readonly listener: Listener;
  /** What must be done on a connection before it counts; a rejection ends it. */
  readonly prepare?: (dialled: Dialled) => Promise<void>;
  /** Aborts when it, or the connection it has led to, is of no use any more. */
  readonly signal: AbortSignal;
}

/** Tries the servers in turn, once each, in random order: clients spread. */
export async function dial(request: Dial): Promise<Dialled> {
  const { settings, patience } = request;
  const { servers, chroot } = await within(patience, settings.locate());
  const order = servers
    .map((server) => ({ server, rank: nameOf(server) === request.avoid ? 1 : Math.random() }))
    .sort((a, b) => a.rank - b.rank);
  const failures: unknown[] = [];
  for (const { server } of order) {
    if (request.signal.aborted) break;
    try {
      return await one(request, server, chroot);
    } catch (error) {
      if (error instanceof BackendError) throw error;
      failures.push(error);
    }
  }
  throw new ConnectionLost(
    failures.map((error) => (error as Error).message).join("; ") || "it was closed while it connected",
    { cause: failures.length === 1 ? failures[0] : new AggregateError(failures) },
  );
}

async function one(request: Dial, server: Server, chroot: string): Promise<Dialled> {
  const { settings, listener, prepare, signal } = request;
  let counts = false;
  const connection = await Connection.open(server, request.hello(), request.patience, {
    event: (type, path) => listener.event(type, path),
    ended: (error) => counts && listener.ended(error),
  }, signal);
  const dialled = { connection, chroot };
  try {
    // The server refuses or ignores whatever follows a login that failed.
    const login = settings.credentials === undefined || connection.welcome.timeout <= 0
      ? undefined
      : connection.request(auth(settings.credentials)).catch(loginFailed);
    await Promise.all([login, prepare?.(dialled)]);
    if (connection.ended) throw new ConnectionLost(`${connection.name} was given up`);
    counts = true;
    return dialled;
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

function loginFailed(error: unknown): never {
  if (!failedWith(error, code.authFailed)) throw error;
  throw new BackendError("Cannot log in to ZooKeeper: it refuses the username and password of zookeeper()", {
    cause: error,
    retryable: false,
  });
}

/** A locator that never answers must not keep everybody waiting. */
function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new ConnectionLost(`the locator said nothing for ${Math.round(ms)} ms`)),
      ms,
    );
    answer.then(resolve, (error) => reject(error)).finally(() => clearTimeout(timer));
  });
}
