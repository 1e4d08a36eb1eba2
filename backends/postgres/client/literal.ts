/** SQL made of values, for statements of one message: the simple protocol has no parameters. */

/** What the server allows for a name, in bytes. */
const NAME = 63;

/**
 * A text as a literal, right whatever `standard_conforming_strings` says. Only ASCII is sent, which is the same in
 * every encoding of a database.
 *
 * @throws {TypeError} for characters beyond ASCII, and for NUL, which no text in Postgres has
 */
export function literal(text: string): string {
  // deno-lint-ignore no-control-regex
  if (/[^\x01-\x7f]/.test(text)) throw new TypeError(`Cannot send ${JSON.stringify(text)}: it is not ASCII`);
  return `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}

/** A name, such as that of a schema, as it stands in SQL. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * Checks the name of a schema.
 *
 * @throws {TypeError | RangeError}
 */
export function checkSchema(schema: string): void {
  if (typeof schema !== "string") throw new TypeError(`Expected "schema" to be string, got ${typeof schema}`);
  const bytes = new TextEncoder().encode(schema).length;
  if (schema.includes("\0") || !schema.isWellFormed()) {
    throw new TypeError(
      'Cannot use this "schema" of postgres(): a name has no NUL and no half of a character in it',
    );
  }
  if (/^pg_/.test(schema) || schema.includes("$holdfast$")) {
    throw new TypeError(
      `Cannot use "schema" ${JSON.stringify(schema)}: names with pg_ or $holdfast$ are taken`,
    );
  }
  if (bytes >= 1 && bytes <= NAME) return;
  throw new RangeError(`Expected "schema" of postgres() to be 1 to ${NAME} bytes, got ${bytes}`);
}

/** JSON text with everything beyond ASCII written as an escape. */
export function asciiJson(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The server's clock, in microseconds. */
export const CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
