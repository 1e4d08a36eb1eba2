/** Has connections open and at rest, and must come to an end by itself. */
import process from "node:process";
import pg from "pg";
import postgres from "postgres";
import { type PostgresTarget, route } from "../../backends/postgres/address.ts";

const [url, ...kinds] = process.argv.slice(2);
const busy = setInterval(() => {}, 60_000);
for (const kind of kinds) {
  const client = kind === "postgres"
    ? postgres(url!)
    : kind === "pg"
    ? new pg.Pool({ connectionString: url })
    : undefined;
  const { open, listen } = route((client ?? url) as PostgresTarget);
  const request = { abandoned: AbortSignal.timeout(60_000), down: console.log };
  for (const link of [await open(request), await listen!(request)]) await link.query("SELECT ''");
  await client?.end();
}
clearInterval(busy);
console.log("done");
