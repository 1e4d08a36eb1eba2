import { refused } from "../../shared/errors.ts";
import { opener } from "./hosts.ts";
import { clientKind } from "./kind.ts";
import type { Link, Opener, Row } from "./link.ts";
import { Pending } from "./pending.ts";
import { addressLike, type TheirPostgres } from "./postgres_options.ts";
import { ask, type Asked, rowsOf } from "./postgres_js.ts";
import { askPg, listenPg, type TheirPool } from "./pg.ts";
import type { PostgresClient } from "./types.ts";

export type { BunSql, PgPool, PostgresClient, PostgresJsClient } from "./types.ts";
export { isClient } from "./kind.ts";

/** How a client is used. */
export interface ClientWays {
  /** Opens links through the client as it is. */
  readonly open: Opener;
  /** Opens connections of our own made like those of the client; absent where it does not tell how. */
  readonly listen?: Opener;
}

/** Calls go through the client; for notifications there is a connection of our own, if the client tells how. */
export function openersOf(client: PostgresClient): ClientWays {
  const given: unknown = client;
  switch (clientKind(client)) {
    case "postgres": {
      const { options } = given as TheirPostgres;
      const listen: Opener = (request) => opener(addressLike(options))(request);
      // What makes rows into something else spares none: such a client cannot be asked.
      const open = options.transform?.row?.from
        ? listen
        : through((text) => askLike(given as Asked)(text).catch(doubted));
      return { open, listen };
    }
    case "bun":
      return { open: through(askLike(given as Asked)) };
    case "pg": {
      const pool = given as TheirPool;
      return { open: through((text) => askPg(pool, text)), listen: (request) => listenPg(pool, request) };
    }
    case undefined:
      throw new TypeError("Cannot use this as a Postgres client");
  }
}

function askLike(sql: Asked): (text: string) => Promise<readonly Row[]> {
  return (text) => ask(sql, text).then(rowsOf);
}

/**
 * The package `postgres` gives an error that came just before the end of a connection to the next query on another one,
 * whatever that has done: so no error of a client that connects again tells that nothing was done.
 */
function doubted(error: unknown): never {
  const { name, message, code } = error as Error & { code?: unknown };
  throw Object.assign(new Error(message, { cause: error }), { name, code });
}

function through(ask: (text: string) => Promise<readonly Row[]>): Opener {
  return (): Promise<Link> => {
    const asked = new Pending<object>();
    let open = true;
    return Promise.resolve({
      query(text) {
        if (!open) return Promise.reject(over());
        return asked.wait({}, ask(text).catch((error) => Promise.reject(explained(error))));
      },
      close() {
        open = false;
        asked.giveUp(over);
      },
    });
  };
}

function over(): Error {
  return new Error("the connection was closed");
}

/** By what clients that were closed are known. */
const CLOSED = /CONNECTION_ENDED|Cannot use a pool after calling end/;

function explained(error: unknown): unknown {
  const { code, errno, message } = error as { code?: unknown; errno?: unknown; message?: unknown };
  // Bun has the server's code under a name of its own.
  if (code === "ERR_POSTGRES_SERVER_ERROR") {
    return Object.assign(new Error(`${message}`), error, { code: errno });
  }
  if (!CLOSED.test(`${code} ${message}`)) return error;
  return refused("ask Postgres", "the client that was handed in has been closed", {
    hint: "keep it open as long as it is in use",
    retryable: false,
  }, error);
}
