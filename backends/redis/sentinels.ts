import type { Callback, Redis } from "ioredis";
import { BackendError } from "../../internal/errors.ts";
import { isFinal, redisError } from "./errors.ts";

type Endpoint = { readonly host: string; readonly port: number };

/** How ioredis finds a master; it has no public way there. */
export interface SentinelConnector {
  readonly options: { readonly name: string };
  connect(...given: unknown[]): Promise<unknown>;
  resolve(sentinel: Endpoint): Promise<unknown>;
  connectToSentinel(...given: unknown[]): Redis;
}

const HINTS: Readonly<Record<string, string>> = {
  NOAUTH: "give `sentinelUsername` and `sentinelPassword`",
  WRONGPASS: "check `sentinelUsername` and `sentinelPassword`",
  NOPERM:
    "a user at a Sentinel needs `&+switch-master +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels`",
};

/**
 * Makes a client tell why it finds no master. ioredis says of Sentinels only that all are unreachable,
 * whatever they have answered; and takes a server for the master that will not say what it is.
 */
export function askSentinels(
  client: Redis,
  connector: SentinelConnector,
  own: (client: Redis) => Redis,
): void {
  const { connect, resolve, connectToSentinel } = connector;
  const answers = new Map<string, unknown>();
  let reason: unknown;
  connector.connectToSentinel = (...given) =>
    own(connectToSentinel.apply(connector, given)).on("error", (error) => reason = error);
  connector.resolve = async (sentinel) => {
    reason = undefined;
    try {
      return await resolve.call(connector, sentinel);
    } catch (error) {
      // That of the connection, if there is one, says more than that of a command that was cut off.
      answers.set(`${sentinel.host}:${sentinel.port}`, reason ?? error);
      throw error;
    }
  };
  connector.connect = async (...given) => {
    answers.clear();
    try {
      return await connect.apply(connector, given);
    } catch (error) {
      throw answers.size > 0 ? unknown(connector.options.name, answers) : error;
    }
  };
  const info = client.info as (callback: Callback) => Promise<unknown>;
  client.info = ((callback: Callback) =>
    info.call(
      client,
      (error, reply) => callback(isNoPermission(error) ? unasked() : error, reply),
    )) as typeof client.info;
}

/** Most of the Sentinels must have refused: the others may be away for the moment. */
function unknown(name: string, answers: ReadonlyMap<string, unknown>): Error {
  const refusals = [...answers].filter(([, error]) => isFinal(error));
  const [first] = refusals;
  if (first && refusals.length * 2 >= answers.size) {
    return redisError(`ask the Sentinel at ${first[0]} for the master "${name}"`, first[1], HINTS);
  }
  const said = [...answers].map(([at, error]) => `${at}: ${error instanceof Error ? error.message : error}`);
  return new Error(`no Sentinel tells the master "${name}"; ${said.join("; ")}`);
}

function isNoPermission(error: Error | null | undefined): boolean {
  return error?.message.startsWith("NOPERM") ?? false;
}

function unasked(): BackendError {
  // ioredis would go on at the server's own word for it.
  return new BackendError(
    "Cannot ask Redis whether it is the master: the ACL user lacks a permission (grant +info)",
    { retryable: false },
  );
}
