/** What was handed in: a client's class is not asked for, since there may be several copies of a package. */
import type { RedisClient } from "./types.ts";

/** The clients that are taken. */
export type ClientKind =
  | "ioredis"
  | "node-redis"
  | "node-redis cluster"
  | "node-redis sentinel"
  | "node-redis pool"
  | "bun";

/** An object of which nothing is known. */
type Unknown = { readonly [name: string]: unknown };

const ACCEPTED = "Redis or Cluster of ioredis 4 to 6 or iovalkey; what createClient, createCluster, " +
  "createSentinel or createClientPool of redis (node-redis) 4 to 6 returns; RedisClient of Bun";

/** By which methods each kind is known. The first that fits is it. */
const KINDS: readonly (readonly [ClientKind, readonly string[]])[] = [
  ["ioredis", ["call", "duplicate", "disconnect", "defineCommand"]],
  ["node-redis cluster", ["sendCommand", "connect", "nodeClient"]],
  ["node-redis sentinel", ["sendCommand", "connect", "getMasterNode", "_execute"]],
  ["node-redis pool", ["sendCommand", "connect", "execute", "withTypeMapping"]],
  ["node-redis", ["sendCommand", "connect", "duplicate", "subscribe"]],
  ["bun", ["send", "connect", "duplicate", "subscribe"]],
];

/** What else is taken for a client, and would never work as one. */
const STRANGERS: readonly (readonly [what: string, is: (given: Unknown) => boolean])[] = [
  ["a Promise (await it first)", ({ then }) => callable(then)],
  ["a client of redis 3 or older", ({ internal_send_command }) => callable(internal_send_command)],
  ["a client of handy-redis", ({ nodeRedis }) => typeof nodeRedis === "object"],
  [
    "the legacy interface of a client",
    ({ sendCommand, exec, isOpen }) => callable(sendCommand) && !callable(exec) && isOpen === undefined,
  ],
  [
    "a client that a Sentinel client lends",
    ({ sendCommand, release }) => callable(sendCommand) && callable(release),
  ],
  [
    "a client without a connection by which messages come",
    ({ evalsha, pipeline, duplicate }) => callable(evalsha) && callable(pipeline) && !callable(duplicate),
  ],
  ["a pipeline or transaction", ({ exec }) => callable(exec)],
];

/** By which methods something is known to be no options: it wants to be a client. */
const TELLTALE = ["then", "call", "send", "sendCommand", "send_command", "duplicate", "exec", "multi", "get"];

/** What makes a client of an accepted kind unfit. */
const FLAWS: readonly (readonly [what: string, has: (given: Unknown, kind: ClientKind) => boolean])[] = [
  ["a client in subscriber or monitor mode", (given, kind) => !sends(given, kind)],
  ["a client in legacyMode", (given) => options(given).legacyMode === true],
  ["a client of replicas", (given) => options(given).role === "slave"],
  [
    "a client whose keyPrefix is no string",
    (given) => (given._keyPrefix ?? "") !== `${given._keyPrefix ?? ""}`,
  ],
];

/**
 * Which client this is; `undefined` if it does not even look like one.
 *
 * @throws {TypeError} If it looks like one and is none that is taken.
 */
export function clientKind(target: object): ClientKind | undefined {
  const given = target as Unknown;
  const kind = isClass(target) ? undefined : kindOf(given);
  const what = kind === undefined ? strangeness(given) : FLAWS.find(([, has]) => has(given, kind))?.[0];
  if (what === undefined) return kind;
  throw new TypeError(`Cannot use ${what} as a Redis client: give one of these instead: ${ACCEPTED}`);
}

/** Whether something is a client rather than options for one; see {@linkcode clientKind}. */
export function isClient(target: object): target is RedisClient {
  return clientKind(target) !== undefined;
}

/** Whether the keys of one command must share a slot. */
export function isClusterClient(client: RedisClient): boolean {
  return clientKind(client) === "node-redis cluster" ||
    (client as { isCluster?: boolean }).isCluster === true;
}

function kindOf(given: Unknown): ClientKind | undefined {
  if (given.isPipeline === true) return undefined;
  return KINDS.find(([, methods]) => methods.every((name) => callable(given[name])))?.[0];
}

/** What it is, if it is not options or a locator. */
function strangeness(given: Unknown): string | undefined {
  if (isClass(given)) return `the class ${given.name} (make an instance of it)`;
  if (callable(given) || !TELLTALE.some((name) => callable(given[name]))) return undefined;
  return STRANGERS.find(([, is]) => is(given))?.[0] ??
    `an instance of ${given.constructor?.name ?? "Object"}`;
}

/** A locator has no methods for others to inherit. */
function isClass(given: object): boolean {
  const { prototype } = given as { prototype?: Unknown };
  return callable(given) && TELLTALE.some((name) => callable(prototype?.[name]));
}

/** Whether any command can be sent: with RESP3 also by one that listens. */
function sends(given: Unknown, kind: ClientKind): boolean {
  if (kind === "ioredis") {
    const { subscriber } = (given.condition ?? {}) as { subscriber?: unknown };
    return given.mode === undefined ? !subscriber : given.mode === "normal";
  }
  if (kind !== "node-redis" || given.isPubSubActive !== true) return true;
  const usual = "_keyPrefix" in given ? 3 : 2; // the default of node-redis 6, and of those before
  return (options(given).RESP ?? usual) === 3;
}

function options(given: Unknown): Unknown {
  return (given.options ?? {}) as Unknown;
}

function callable(value: unknown): boolean {
  return typeof value === "function";
}
