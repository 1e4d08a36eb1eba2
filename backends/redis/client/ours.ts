import type { Redis } from "ioredis";
import { refused } from "../../shared/errors.ts";
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
export function ours(client: Redis): Redis {
  const inner = client as unknown as Inner;
  client.on("connect", () => client.stream.unref());
  client.on("reconnecting", () => inner.reconnectTimeout?.unref()); // a Sentinel is away
  const auth = client.auth as (...given: unknown[]) => Promise<"OK">;
  client.auth = (...given: unknown[]) => auth.apply(client, given).catch(loginFailed);
  if (inner.connector.resolve) askSentinels(client, inner.connector, ours);
  return client;
}

function loginFailed(error: Error): never {
  if (!/no password is set|any password configured|number of arguments/.test(error.message)) throw error;
  // ioredis knows its own warnings by the server's words: they must not be repeated here.
  throw refused("log in to Redis", "the server has no such users or passwords", {
    hint: "leave `username` and `password` out",
    retryable: false,
  });
}
