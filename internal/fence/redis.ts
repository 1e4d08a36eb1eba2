import { encodePart } from "../keys.ts";
import { checkInput, decodeToken, encodeToken, type Fence, refuseStale } from "./fence.ts";

/** What may be written in one step. */
export type RedisWork =
  /** Commands, each with the one key that it is about as its first argument: `["SET", "balance", "5"]`. */
  | readonly (readonly [command: string, key: string, ...args: (string | number)[]])[]
  /** A script, which finds its keys and arguments in `KEYS` and `ARGV` as ever. */
  | RedisScript;

/** A script and what it is about. */
export interface RedisScript {
  /** Lua, without a `#!` line. */
  readonly script: string;
  /** `KEYS` of the script. @default {none} */
  readonly keys?: readonly string[];
  /** `ARGV` of the script. @default {none} */
  readonly args?: readonly (string | number)[];
}

/** What {@linkcode redisFence} gives. */
export interface RedisFence extends Fence {
  /**
   * Writes in one step with the check. Redis rolls nothing back: a command that fails leaves what those
   * before it have done.
   *
   * @returns What the script returns, or the reply to each command, as the client gives it
   * @throws {StaleTokenError} if a later holder was here before: nothing was written
   * @throws {TypeError} if the work is none: nothing was sent
   */
  write(key: string, token: bigint, work: RedisWork): Promise<unknown>;
}

/**
 * A client: of `ioredis` or `iovalkey`, of `redis` (node-redis) 4 and later, `RedisClient` of Bun, or `Redis`
 * of `@upstash/redis`; of one server, a Cluster or by Sentinels.
 */
export type RedisFenceClient = {
  /** Evaluates a script. */
  eval(...args: never[]): Promise<unknown>;
} | {
  /** Sends a command. */
  send(command: string, args: string[]): Promise<unknown>;
};

/**
 * A fence in Redis. The write is a script or a list of commands, run in one step with the check:
 *
 * ```ts
 * import { acquire } from "@holdfast/lock";
 * import { redisFence } from "@holdfast/lock/fence";
 * import { Redis } from "ioredis";
 *
 * const client = new Redis("redis://127.0.0.1:6379");
 * const fence = redisFence(client);
 * await using lock = await acquire("account:7");
 * await fence.write(lock.key, lock.token, [["SET", "{account:7}:balance", "5"]]);
 * await client.quit();
 * ```
 *
 * In a Cluster what is written must be in one slot with what the fence remembers, so its keys have the hash
 * tag of the lock's key: its own, if it has one (`{7}` in `account:{7}`), else the whole of it, as above. Of
 * a key with characters other than `A-Z a-z 0-9 _ . : @ + = , -` the whole is taken percent-encoded.
 *
 * It remembers one string for each key, without a ttl: a server that may evict it, or that has lost its last
 * writes in a failover, lets a stale token pass, as it has lost what it has guarded.
 *
 * @throws {TypeError} if it is no such client
 */
export function redisFence(client: RedisFenceClient): RedisFence {
  const evaluate = evaluator(client as unknown as Client);
  const write = async (key: string, token: bigint, work: RedisWork): Promise<unknown> => {
    checkInput(key, token);
    const { script, keys = [], args = [] } = scriptOf(work);
    try {
      return await evaluate(
        guarded(script),
        [registerOf(key), ...keys],
        [encodeToken(token), ...args.map(String)],
      );
    } catch (error) {
      const [, seen] = /\bSTALETOKEN (\d+)/.exec((error as Error)?.message) ?? [];
      if (seen !== undefined) refuseStale(key, token, decodeToken(seen));
      throw error;
    }
  };
  return { write, check: async (key, token) => void await write(key, token, []) };
}

/**
 * The check, and then the work as a function of the keys and arguments that are its own. Texts of digits as
 * long as each other are in the order of their numbers; Lua's own numbers would lose the last digits.
 */
function guarded(script: string): string {
  return `local register, token, keys, args = KEYS[1], ARGV[1], {}, {}
local seen = redis.call('GET', register)
if seen and seen > token then return redis.error_reply('STALETOKEN ' .. seen) end
redis.call('SET', register, token)
for n = 2, #KEYS do keys[n - 1] = KEYS[n] end
for n = 2, #ARGV do args[n - 1] = ARGV[n] end
return (function(KEYS, ARGV)
${script}
end)(keys, args)`;
}

/**
 * What is to be run.
 *
 * @throws {TypeError} If it is no work.
 */
function scriptOf(work: RedisWork): RedisScript {
  const isText = (one: unknown) => typeof one === "string";
  const isArgument = (one: unknown) => isText(one) || typeof one === "number";
  const areAll = (list: unknown, are: (one: unknown) => boolean) => Array.isArray(list) && list.every(are);
  if (Array.isArray(work)) {
    const isCommand = (one: unknown) =>
      Array.isArray(one) && isText(one[0]) && isText(one[1]) && one.every(isArgument);
    if (work.every(isCommand)) return commands(work);
  } else {
    const { script, keys = [], args = [] } = (work ?? {}) as Partial<RedisScript>;
    if (isText(script) && areAll(keys, isText) && areAll(args, isArgument)) return work as RedisScript;
  }
  throw new TypeError(
    'Expected the work to be commands with their key, such as [["SET", "balance", "5"]], ' +
      "or { script, keys, args }: keys are strings, other arguments strings or numbers",
  );
}

/** One script for all lists: for each command its name, how many arguments follow the key, and those. */
function commands(list: Exclude<RedisWork, RedisScript>): RedisScript {
  return {
    script: `local replies, at = {}, 1
for n, key in ipairs(KEYS) do
  local command = { ARGV[at], key }
  for more = 1, tonumber(ARGV[at + 1]) do command[more + 2] = ARGV[at + 1 + more] end
  at = at + #command
  replies[n] = redis.call(unpack(command))
end
return replies`,
    keys: list.map(([, key]) => key),
    args: list.flatMap(([command, , ...args]) => [command, args.length, ...args]),
  };
}

/** Where the greatest token of a key is: in the slot of the hash tag of the key. */
function registerOf(key: string): string {
  const encoded = encodePart(key);
  const [, tag] = /^[^{]*\{([^}]+)\}/.exec(key) ?? [];
  return `holdfast-fence:{${tag ?? encoded}}:${encoded}`;
}

type Evaluate = (script: string, keys: string[], args: string[]) => Promise<unknown>;

/** All that the clients have. */
interface Client {
  readonly options?: { readonly enableAutoPipelining?: boolean };
  readonly _keyPrefix?: string;
  eval(...args: unknown[]): Promise<unknown>;
  sendCommand(key: string | undefined, readOnly: boolean, args: string[]): Promise<unknown>;
  send(command: string, args: string[]): Promise<unknown>;
  pipeline(): { eval(...args: unknown[]): { exec(): Promise<[error: Error | null, reply: unknown][]> } };
}

/** By which method each kind of client is known, and how it evaluates a script. The first that fits is it. */
const WAYS: readonly (readonly [method: string, evaluate: (client: Client) => Evaluate])[] = [
  ["defineCommand", (client) => async (script, keys, args) => {
    // ioredis takes the script for the key of a command that it puts into a pipeline by itself.
    if (!client.options?.enableAutoPipelining) return client.eval(script, keys.length, ...keys, ...args);
    const [[error, reply]] = await client.pipeline().eval(script, keys.length, ...keys, ...args).exec() as [
      [Error | null, unknown],
    ];
    if (error) throw error;
    return reply;
  }],
  ["nodeClient", (client) => (script, keys, args) => {
    // A Cluster of node-redis 4 asks any node at all to evaluate.
    const named = keys.map((key) => `${client._keyPrefix ?? ""}${key}`);
    return client.sendCommand(named[0], false, ["EVAL", script, `${keys.length}`, ...named, ...args]);
  }],
  ["sendCommand", (client) => (script, keys, args) => client.eval(script, { keys, arguments: args })],
  [
    "send",
    (client) => (script, keys, args) => client.send("EVAL", [script, `${keys.length}`, ...keys, ...args]),
  ],
  ["eval", (client) => (script, keys, args) => client.eval(script, keys, args)],
];

function evaluator(client: Client): Evaluate {
  const has = (method: string) => typeof client?.[method as keyof Client] === "function";
  const way = WAYS.find(([method]) => has(method))?.[1];
  if (way === undefined) {
    throw new TypeError(
      "Expected a client of ioredis, of redis (node-redis) 4 or later, of Bun, or of @upstash/redis",
    );
  }
  return way(client);
}
