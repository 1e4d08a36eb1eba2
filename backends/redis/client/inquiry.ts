import type { RedisOptions } from "ioredis";
import { redisError } from "./errors.ts";
import { dialServer } from "./server_link.ts";
import { text } from "./replies.ts";

/** What `INFO` tells, by its names. */
export type Info = Readonly<Record<string, string>>;

/** A connection that asks one server about itself, and hears no messages. */
export interface Inquiry extends Disposable {
  /** Rejects with the client's own error. */
  ask(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** What the server says of itself; `undefined` if the user may not know. */
  info(): Promise<Info | undefined>;
  /** A setting; `undefined` if the user may not know it, as with most managed services. */
  setting(name: string): Promise<string | undefined>;
}

/** Connects to a server, a Sentinel, or the master that Sentinels name. The signal ends it whenever it aborts. */
export async function inquire(options: RedisOptions, place: string, signal: AbortSignal): Promise<Inquiry> {
  const request = { channel: "", abandoned: signal, message() {}, down() {} };
  const link = await dialServer(options, request, false).catch((error) => {
    throw redisError(`connect to Redis at ${place}`, error);
  });
  const close = () => link.close();
  signal.addEventListener("abort", close, { once: true });
  const ask = (command: string, ...args: (string | number)[]) => link.client.call(command, ...args);
  return {
    ask,
    async info() {
      const said = await ask("INFO").catch(notAllowed);
      return said === undefined ? undefined : pairsOf(text(said));
    },
    async setting(name) {
      const said = await ask("CONFIG", "GET", name).catch(notAllowed);
      return Array.isArray(said) && said.length === 2 ? text(said[1]) : undefined;
    },
    [Symbol.dispose]: close,
  };
}

/** For `catch`: what the server will not do for this user, or not at all, as opposed to a connection that broke. */
export function notAllowed(error: unknown): undefined {
  if (error instanceof Error && /^(NOPERM|ERR) /.test(error.message)) return undefined;
  throw error;
}

/** Of `INFO`: a name and a value a line, below headings. */
function pairsOf(said: string): Info {
  const pairs = said.split(/\r?\n/).map((line) => line.split(/:(.*)/s)).filter(([, value]) =>
    value !== undefined
  );
  return Object.fromEntries(pairs.map(([name, value]) => [name, value]));
}
