import type { Redis } from "ioredis";
import { BackendError } from "../../internal/errors.ts";
import { askSentinels, type SentinelConnector } from "./sentinels.ts";

/** What ioredis has no public way to. */
interface Inner {
  readonly connector: SentinelConnector | { readonly resolve?: undefined };
  readonly reconnectTimeout: NodeJS.Timeout | null;
}

/**
 * Makes a client that we have opened keep no process alive; the core's alarms do, while something is asked,
 * waited for or held. And it logs in as it was told or fails: by itself ioredis prints a warning where the
 * server wants no password, and goes on without. Both hold for its connections to Sentinels as well.
 */
export function own(client: Redis): Redis {
  const inner = client as unknown as Inner;
  client.on("connect", () => client.stream.unref());
  client.on("reconnecting", () => inner.reconnectTimeout?.unref()); // a Sentinel is away
  const auth = client.auth as (...given: unknown[]) => Promise<"OK">;
  client.auth = (...given: unknown[]) => auth.apply(client, given).catch(refused);
  if (inner.connector.resolve) askSentinels(client, inner.connector, own);
  return client;
}

function refused(error: Error): never {
  if (!/no password is set|any password configured|number of arguments/.test(error.message)) throw error;
  // ioredis knows its own warnings by the server's words: they must not be repeated here.
  throw new BackendError(
    "Cannot log in to Redis: the server has no such users or passwords (leave `username` and `password` out)",
    { retryable: false },
  );
}
