import { BackendError } from "../../../internal/errors.ts";
import { Connection, type Hearer } from "./connection.ts";
import { ConnectionLost, refused } from "./errors.ts";
import { auth, type Hello } from "./operations.ts";
import type { Server } from "./servers.ts";
import type { Settings } from "./settings.ts";

/** A connection, and the folder its nodes are in. */
export interface Dialled {
  /** Logged in, if there are credentials. */
  readonly connection: Connection;
  /** "" or "/a/b". */
  readonly chroot: string;
  /** Where to. */
  readonly server: Server;
}

/** How one connection is made. */
export interface Dial {
  /** Where to. */
  readonly settings: Settings;
  /** Says hello, anew for each server. */
  readonly hello: () => Hello;
  /** Milliseconds for all of it. */
  readonly timeout: number;
  /** Milliseconds, at most, for a server that has not failed of late. @default {its share of the time} */
  readonly patience?: number;
  /** Told about the connection that is returned, and no other. */
  readonly listener: Hearer;
  /** What must be done on a connection before it counts; a rejection ends it. */
  readonly prepare?: (dialled: Dialled) => Promise<void>;
  /** Aborts when the attempt, or the connection it has led to, is of no use any more. */
  readonly signal: AbortSignal;
}

/**
 * Tries the servers in turn, once each. What is left of the time is shared out evenly among those that are
 * left, and none gets more, so that silent ones leave enough for one that answers. Within its share, a
 * server's `patience` doubles with each of its failures: the server may be slow.
 */
export async function dial(request: Dial): Promise<Dialled> {
  const { settings, timeout, patience = Infinity, signal } = request;
  const until = performance.now() + timeout;
  const { servers, chroot } = await within(timeout, settings.locate());
  const failures: unknown[] = [];
  for (const [index, server] of settings.servers.order(servers).entries()) {
    const left = until - performance.now();
    if (signal.aborted || left <= 0) break;
    const share = left / (servers.length - index);
    const patient = patience * 2 ** settings.servers.failures(server);
    try {
      return await one(request, server, chroot, Math.min(share, patient));
    } catch (error) {
      if (error instanceof BackendError) throw error;
      if (!signal.aborted) settings.servers.failed(server);
      failures.push(error);
    }
  }
  throw new ConnectionLost(
    failures.map((error) => (error as Error).message).join("; ") || "it was closed while it connected",
    { cause: failures.length === 1 ? failures[0] : new AggregateError(failures) },
  );
}

async function one(request: Dial, server: Server, chroot: string, patience: number): Promise<Dialled> {
  const { settings, listener, prepare, signal } = request;
  const until = performance.now() + patience;
  let counts = false;
  const connection = await Connection.open(server, request.hello(), patience, {
    event: (type, path) => listener.event(type, path),
    ended: (error) => {
      if (!counts) return;
      if (!signal.aborted) settings.servers.failed(server);
      listener.ended(error);
    },
  }, signal);
  const { name } = connection;
  const silent = setTimeout(
    () => connection.destroy(new ConnectionLost(`${name} was not ready within ${Math.round(patience)} ms`)),
    until - performance.now(),
  );
  const dialled = { connection, chroot, server };
  try {
    // The server refuses or ignores whatever follows a login that failed.
    const login = settings.credentials === undefined || connection.welcome.timeout <= 0
      ? undefined
      : connection.request(auth(settings.credentials)).catch(loginFailed);
    await Promise.all([login, prepare?.(dialled)]);
    if (connection.ended) throw new ConnectionLost(`${name} was given up`);
    counts = true;
    settings.servers.worked(server);
    return dialled;
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    clearTimeout(silent);
  }
}

function loginFailed(error: unknown): never {
  throw refused("log in", error);
}

/** A locator that never answers must not keep its callers waiting. */
function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new ConnectionLost(`the locator said nothing for ${Math.round(ms)} ms`)),
      ms,
    );
    answer.then(resolve, (error) => reject(error)).finally(() => clearTimeout(timer));
  });
}
