import { clearTimeout, setTimeout } from "node:timers";
import type { Callback, Redis } from "ioredis";
import type { BackendError } from "../../../internal/errors.ts";
import { refused } from "../../shared/errors.ts";
import { written } from "./endpoint.ts";
import { isFinal, redisError } from "./errors.ts";

type Endpoint = { readonly host: string; readonly port: number };

/** How ioredis finds a master; it has no public way there. */
export interface SentinelConnector {
  readonly options: { readonly name: string; readonly sentinels: readonly Endpoint[] };
  readonly sentinelIterator: { readonly sentinels: Endpoint[] };
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

/** Milliseconds for a whole list of silent Sentinels, so that the next call comes to another one. */
const PATIENCE = 900;

/** Which Sentinels of a list have failed: how often in a row, and when last. */
type Failed = Map<string, { readonly times: number; readonly at: number }>;
const failures = new WeakMap<readonly Endpoint[], Failed>();

/**
 * Makes a client tell why it finds no master. ioredis says of Sentinels only that all are unreachable,
 * whatever they have answered; and takes a server for the master that will not say what it is. And it asks
 * each list from its beginning, for seconds each: here those that have failed come last, the latest at the
 * end, and silence costs a part of a call, twice as much with each time, for the Sentinel may be slow.
 */
export function askSentinels(
  client: Redis,
  connector: SentinelConnector,
  ours: (client: Redis) => Redis,
): void {
  const { connect, resolve, connectToSentinel } = connector;
  const answers = new Map<string, unknown>();
  const { sentinels: list } = connector.options;
  const failed: Failed = failures.get(list) ?? new Map();
  failures.set(list, failed);
  let reason: unknown;
  let asked: Redis | undefined;
  connector.connectToSentinel = (...given) =>
    asked = ours(connectToSentinel.apply(connector, given)).on("error", (error) => reason ??= error);
  connector.resolve = async (sentinel) => {
    reason = undefined;
    const name = written(sentinel);
    const times = failed.get(name)?.times ?? 0;
    const patience = PATIENCE / connector.sentinelIterator.sentinels.length * 2 ** times;
    const silent = setTimeout(() => {
      reason ??= new Error(`no answer within ${Math.round(patience)} ms`);
      asked?.disconnect();
      asked?.stream?.destroy(); // ioredis would wait for the other end
    }, patience);
    silent.unref();
    try {
      const found = await resolve.call(connector, sentinel);
      failed.delete(name);
      return found;
    } catch (error) {
      failed.set(name, { times: times + 1, at: performance.now() });
      // That of the connection, if there is one, says more than that of a command that was cut off.
      answers.set(name, reason ?? error);
      throw error;
    } finally {
      clearTimeout(silent);
    }
  };
  connector.connect = async (...given) => {
    answers.clear();
    const latest = (sentinel: Endpoint) => failed.get(written(sentinel))?.at ?? 0;
    connector.sentinelIterator.sentinels.sort((a, b) => latest(a) - latest(b));
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
  const meaning = { hint: "grant +info", retryable: false };
  return refused("ask Redis whether it is the master", "the ACL user lacks a permission", meaning);
}
