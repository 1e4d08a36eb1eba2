/**
 * A database migration at deploy: many instances start at once, one of them migrates, the others wait and go
 * on.
 *
 * The lock is in the database that is migrated, so `guarded` can join the two: what is done in its
 * transaction is committed only if the lock is held. A migration that cannot run in a transaction (`CREATE
 * INDEX CONCURRENTLY`) has to be one that may be begun twice.
 *
 * `HOLDFAST_STORE` is `postgres://user:password@host:port/database`.
 */
import { connect } from "@holdfast/lock/connect";
import { guarded } from "@holdfast/lock/postgres";
import process from "node:process";
import postgres from "postgres";

const MIGRATIONS = [
  "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL)",
  "ALTER TABLE customers ADD COLUMN email text",
];

const url = process.env.HOLDFAST_STORE ?? "postgres://app@127.0.0.1:5432/app";
if (!/^postgres(ql)?:/.test(url)) {
  throw new TypeError("This program takes postgres://user@host:port/database");
}
const sql = postgres(url, { onnotice: () => {} });
await using locks = connect(url);
{
  await using lock = await locks.acquire("migration", { signal: AbortSignal.timeout(300_000) });
  await guarded(sql, lock, async (tx) => {
    await tx`CREATE TABLE IF NOT EXISTS migrations (version int PRIMARY KEY)`;
    const [{ version } = { version: 0 }] = await tx`SELECT max(version) AS version FROM migrations`;
    for (const [at, statement] of MIGRATIONS.entries()) {
      if (at < version) continue;
      await tx.unsafe(statement);
      await tx`INSERT INTO migrations VALUES (${at + 1})`;
      console.log(`migrated to version ${at + 1}`);
    }
  }, { timeout: 60_000 });
}
console.log(`starts with version ${MIGRATIONS.length}`);
await sql.end();

// Prints:
// migrated to version 1
// migrated to version 2
// starts with version 2
