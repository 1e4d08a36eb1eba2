/** What was handed in: a client's class is not asked for, since there may be several copies of a package. */
import type { PostgresClient } from "./types.ts";

/** The clients that are taken. */
export type ClientKind = "postgres" | "pg" | "bun";

/** An object of which nothing is known. */
type Unknown = { readonly [name: string]: unknown };

const ACCEPTED =
  "what postgres() of the package postgres 3 returns, a Pool of the package pg 8, or SQL of Bun";

/** By which methods each kind is known. The first that fits is it. */
const KINDS: readonly (readonly [ClientKind, readonly string[]])[] = [
  ["postgres", ["unsafe", "begin", "listen", "largeObject", "end"]],
  ["bun", ["unsafe", "begin", "reserve", "flush", "connect", "close"]],
  ["pg", ["query", "connect", "end", "_pulseQueue"]],
];

/** What else is taken for a client, and what to give instead. */
const STRANGERS: readonly (readonly [what: string, is: (given: Unknown) => boolean])[] = [
  ["a transaction (give the client that began it)", ({ savepoint }) => callable(savepoint)],
  [
    "a connection that a client lends (give the client)",
    ({ release, query, unsafe }) => callable(release) && (callable(query) || callable(unsafe)),
  ],
  ["a client of Drizzle (give its `$client`)", ({ $client }) => $client !== undefined],
  [
    "a single Client of pg (give a Pool of pg, which opens another connection when one has ended)",
    ({ query, connect, escapeIdentifier }) =>
      callable(query) && callable(connect) && callable(escapeIdentifier),
  ],
  ["a PGlite, which is inside of this process", ({ execProtocol }) => callable(execProtocol)],
  ["a Knex (give a Pool of pg of your own)", ({ raw, client }) => callable(raw) && client !== undefined],
  ["a Kysely (give the Pool that its dialect has)", ({ selectFrom }) => callable(selectFrom)],
  ["a Sequelize (give a Pool of pg of your own)", ({ getQueryInterface }) => callable(getQueryInterface)],
  ["a PrismaClient (give a Pool of pg of your own)", ({ $queryRaw }) => callable($queryRaw)],
  [
    "a TypeORM data source (give a Pool of pg of your own)",
    ({ createQueryRunner }) => callable(createQueryRunner),
  ],
  ["a Promise (await it first)", ({ then }) => callable(then)],
];

/** By which methods something is known to be no options: it wants to be a client. */
const TELLTALE = [
  "then",
  "query",
  "unsafe",
  "begin",
  "connect",
  "end",
  "raw",
  "execute",
  "selectFrom",
  "transaction",
];

/** What makes a client of an accepted kind unfit. */
const FLAWS: readonly (readonly [what: string, has: (given: Unknown, kind: ClientKind) => boolean])[] = [
  ["a transaction (give the client that began it)", ({ savepoint }) => callable(savepoint)],
  ["a connection that a client lends (give the client)", ({ release }) => callable(release)],
  [
    "an SQL of Bun for another kind of database",
    ({ options }, kind) => kind === "bun" && (options as Unknown | undefined)?.adapter !== "postgres",
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
  throw new TypeError(`Cannot use ${what} as a Postgres client: give one of these instead: ${ACCEPTED}`);
}

/** Whether something is a client rather than options for one; see {@linkcode clientKind}. */
export function isClient(target: object): target is PostgresClient {
  return clientKind(target) !== undefined;
}

function kindOf(given: Unknown): ClientKind | undefined {
  return KINDS.find(([, methods]) => methods.every((name) => callable(given[name])))?.[0];
}

/** What it is, if it is not options or a locator. */
function strangeness(given: Unknown): string | undefined {
  if (isClass(given)) return `the class ${given.name} (make an instance of it)`;
  const stranger = STRANGERS.find(([, is]) => is(given))?.[0];
  if (stranger !== undefined || !TELLTALE.some((name) => callable(given[name]))) return stranger;
  return callable(given)
    ? "a function with methods"
    : `an instance of ${given.constructor?.name ?? "Object"}`;
}

/** A locator has no methods for others to inherit. */
function isClass(given: object): boolean {
  const { prototype } = given as { prototype?: Unknown };
  return callable(given) && TELLTALE.some((name) => callable(prototype?.[name]));
}

function callable(value: unknown): boolean {
  return typeof value === "function";
}
