import { checkKinds, isObject, type Kinds } from "../../internal/checks.ts";
import { refused } from "../shared/errors.ts";
import { address, place, type PostgresAddress } from "./client/address.ts";
import { isClient, openersOf, type PostgresClient } from "./client/handed_in.ts";
import { opener } from "./client/hosts.ts";
import type { Opener, Route } from "./client/link.ts";
import { checkSchema } from "./client/literal.ts";
import type { Address } from "./client/options.ts";
import { orUndo } from "./client/waiting.ts";

export type { PostgresAddress } from "./client/address.ts";

/** Where Postgres is: an address, a client of yours, or a function that is asked at every (re)connection. */
export type PostgresTarget = PostgresAddress | PostgresClient | (() => Promise<PostgresAddress>);

/** What else can be said. */
export interface PostgresBackendOptions {
  /** The schema that the tables are in. @default {"holdfast"} */
  readonly schema?: string;
  /**
   * Where to listen for notifications, if not at the target itself: the server behind a pooler that cannot listen.
   *
   * @default {the target, or a connection made like those of the client}
   */
  readonly listen?: PostgresTarget;
}

const KINDS: Kinds<PostgresBackendOptions> = {
  schema: ["string"],
  listen: ["string", "object", "function"],
};

/**
 * Finds out what a target is.
 *
 * @throws {TypeError | RangeError} If it is no address.
 */
export function route(target: PostgresTarget, options: PostgresBackendOptions = {}): Route {
  checkKinds("postgres()", options, KINDS);
  const { schema = "holdfast" } = options;
  checkSchema(schema);
  const to = way(target);
  const ears = options.listen === undefined ? to : way(options.listen);
  if (options.listen !== undefined && ears.listen === undefined) {
    throw new TypeError("Cannot listen through this client: give a URL, options or a locator as `listen`");
  }
  return { place: to.place, open: to.open, ...(ears.listen && { listen: ears.listen }), schema };
}

/** As of {@linkcode Route}. */
interface Way {
  readonly place: string;
  readonly open: Opener;
  readonly listen?: Opener;
}

function way(target: PostgresTarget): Way {
  if (isCallableOrObject(target) && isClient(target)) {
    return { place: "a client handed in", ...openersOf(target) };
  }
  if (typeof target === "function") {
    const open: Opener = async (request) => {
      const given = await orUndo(Promise.resolve(target()), request.abandoned, () => {});
      return await opener(located(given))(request);
    };
    return { place: "where the locator says", open, listen: open };
  }
  const to = address(target as PostgresAddress);
  // Each has its own idea of the server to try first.
  return { place: place(to), open: opener(to), listen: opener(to) };
}

function isCallableOrObject(target: unknown): target is object {
  return typeof target === "function" || isObject(target) && !(target instanceof URL);
}

/** Reads what a locator has returned. */
function located(given: PostgresAddress): Address {
  try {
    if (isCallableOrObject(given) && isClient(given)) {
      throw new TypeError("Cannot use a client as a Postgres address");
    }
    return address(given);
  } catch (error) {
    const said = (error as Error).message;
    throw refused("use what the locator of Postgres has returned", said, { retryable: false }, error);
  }
}
