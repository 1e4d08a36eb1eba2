import { isObject } from "../../../internal/checks.ts";
import { type Address, addressOf, checkOptions, isPath, nowhere, type PostgresOptions } from "./options.ts";
import { parse } from "./url.ts";

/**
 * `postgres://user:password@host:port/database` or `postgresql:`, with several hosts and with parameters as libpq
 * has them. Or options.
 */
export type PostgresAddress = string | URL | PostgresOptions;

/**
 * Reads an address.
 *
 * @throws {TypeError | RangeError} If it is none. The message does not repeat it, since it may hold a password.
 */
export function address(given: PostgresAddress): Address {
  if (typeof given === "string") {
    if (given.trim() === "") throw nowhere("an empty string");
    return addressOf(parse(given));
  }
  if (given === undefined || given === null) throw nowhere(`${given}`);
  if (given instanceof URL) return address(given.href);
  if (!isObject(given) || !isPlain(given)) {
    throw new TypeError("Cannot use this as a Postgres address: give a URL, options, a client or a locator");
  }
  return addressOf(checkOptions(given));
}

/** Which servers and database that is, for messages: without credentials. */
export function place({ hosts, database }: Address): string {
  const written = hosts.map(({ host, port }) =>
    isPath(host) ? `${host}:${port}` : host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`
  );
  return `${written.join()}/${database}`;
}

/** Whether it is an object of options, and not of a class. */
function isPlain(given: object): boolean {
  const kind = Object.getPrototypeOf(given);
  return kind === null || Object.getPrototypeOf(kind) === null;
}
