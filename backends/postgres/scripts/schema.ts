/** All that is made in the database, as SQL. */
import { enterFunction } from "./enter.ts";
import { leaveFunction } from "./leave.ts";
import { observeFunctions } from "./observe.ts";
import { queueFunctions, tables } from "./queue.ts";
import { renewFunction } from "./renew.ts";

/** What the tables look like and the functions mean. Whoever finds another number keeps out. */
export const VERSION = 1;

/** `schema` is quoted. One transaction; to run it again does no harm. */
export function schemaSql(schema: string): string {
  return `
SELECT pg_advisory_xact_lock(hashtextextended('holdfast schema', 0)); -- one at a time
SET LOCAL client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS ${schema};
${tables(schema)}
INSERT INTO ${schema}.floor VALUES (true, 0) ON CONFLICT DO NOTHING;
CREATE OR REPLACE FUNCTION ${schema}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT ${VERSION}';
${queueFunctions(schema)}${enterFunction(schema)}${leaveFunction(schema)}${renewFunction(schema)}${
    observeFunctions(schema)
  }`;
}
