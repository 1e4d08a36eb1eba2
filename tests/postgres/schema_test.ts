/** What is made in the database, by whom, and who may use it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, test } from "node:test";
import { postgres, postgresSchema } from "../../backends/postgres.ts";
import { identifier } from "../../backends/postgres/client/literal.ts";
import { schemaSql } from "../../backends/postgres/scripts/schema.ts";
import type { BackendError } from "../../internal/errors.ts";
import { type Backend, LockManager } from "../../mod.ts";
import { ROOT } from "../runner/packages.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { run } from "../servers/process.ts";
import { script } from "../servers/script.ts";
import { CALL, claim, enter, ENTERED, open } from "../support.ts";
import { database, everything, session } from "./scene.ts";

const SLOW = { timeout: 60_000 };

const server = await PostgresServer.start({ args: ["-c", "fsync=off"] });
after(() => server[Symbol.asyncDispose]());

/** The same database by another role. */
const as = (role: string, url: string) => url.replace("postgres@", `${role}@`);

/** What the first call comes to. */
function refuses(backend: Backend, message: RegExp): Promise<void> {
  return assert.rejects(backend.list("holdfast/k", CALL), (error: BackendError) => {
    assert.match(error.message, message);
    assert.equal(error.retryable, false);
    return true;
  });
}

test("Deno prints the schema's SQL when the entry point is what it runs", SLOW, async () => {
  assert.equal(
    await run("deno", ["run", "--quiet", `${ROOT}/backends/postgres.ts`]),
    `${postgresSchema()}\n`,
  );
});

test("the schema is made at first use, and by twenty at once", SLOW, async () => {
  const url = await database(server, "twenty");
  const backends = Array.from({ length: 20 }, () => postgres(url));
  const outcomes = await Promise.all(backends.map(async (backend) => {
    const { lease } = await open(backend, 60_000);
    return (await enter(lease, claim())).state;
  }));
  assert.deepEqual(outcomes.sort(), [...Array(19).fill("contended"), "granted"]);
  for (const backend of backends) await backend[Symbol.asyncDispose]();
});

test("by processes that start at once", SLOW, async () => {
  const url = await database(server, "processes");
  const children = Array.from({ length: 5 }, () => {
    const child = spawn(...script(new URL("./first_use.ts", import.meta.url), [url]), { stdio: "inherit" });
    return once(child, "close");
  });
  for (const child of children) assert.deepEqual(await child, [0, null]);
});

test("a role with USAGE alone can do everything, and neither read nor write the tables", SLOW, async () => {
  const url = await database(server, "used");
  await server.sql("CREATE ROLE app LOGIN");
  await server.sql(schemaSql(identifier("holdfast")), "used");
  await server.sql("GRANT USAGE ON SCHEMA holdfast TO app", "used");
  await everything(() => postgres(as("app", url)));
  await using other = await session(as("app", url));
  for (const table of ["claims", "gone", "watchers"]) {
    for (const text of [`SELECT FROM holdfast.${table}`, `DELETE FROM holdfast.${table}`]) {
      await assert.rejects(other.run(text), /permission denied for table/);
    }
  }
  await assert.rejects(other.run("CREATE TABLE holdfast.mine (n int)"), /permission denied for schema/);
});

test("a role without USAGE is told what to grant; one that may not make the schema, too", SLOW, async () => {
  const url = await database(server, "unused");
  await server.sql("CREATE ROLE stranger LOGIN");
  await using nothing = postgres(as("stranger", url));
  await refuses(nothing, /permission denied for database unused \(.*have an administrator run the SQL/);
  await server.sql(schemaSql(identifier("holdfast")), "unused");
  await refuses(nothing, /permission denied for schema holdfast \(.*GRANT USAGE ON SCHEMA/);
  await server.sql("GRANT USAGE ON SCHEMA holdfast TO stranger", "unused");
  assert.deepEqual(await nothing.list("holdfast/k", CALL), []);
});

for (const schema of ['we"ird Schéma', "$$; DROP SCHEMA x; $$", "it's", "a\\b%s", "UPPER", "select"]) {
  test(`a schema of the name ${schema}`, SLOW, async () => {
    await everything(() => postgres(server.url, { schema }));
    await server.sql(`SELECT ${identifier(schema)}.sweep(0)`);
  });
}

test("two schemas of one database do not meet", SLOW, async () => {
  await using one = new LockManager(postgres(server.url, { schema: "one" }));
  await using other = new LockManager(postgres(server.url, { schema: "other" }));
  const locks = [await one.acquire("k"), await other.acquire("k")];
  for (const lock of locks) assert.equal(await lock.release(), true);
});

test("a schema of another version is refused, not used", SLOW, async () => {
  const url = await database(server, "versions");
  await server.sql(schemaSql(identifier("holdfast")), "versions");
  const becomes = (version: number | "NULL") =>
    server.sql(
      `CREATE OR REPLACE FUNCTION holdfast.version() RETURNS integer LANGUAGE sql AS 'SELECT ${version}::integer'`,
      "versions",
    );
  await using backend = postgres(url);
  await becomes(2);
  await refuses(backend, /schema holdfast has version 2, and 1 is needed \(update @holdfast\/lock here/);
  await becomes(0);
  await refuses(backend, /schema holdfast has version 0, and 1 is needed \(run the SQL that/);
  await becomes("NULL");
  await refuses(backend, /schema holdfast has version null, and 1 is needed/);
  await becomes(1);
  assert.deepEqual(await backend.list("holdfast/k", CALL), []);
});

// Red if: a function with its owner's rights looks for names where its caller says.
test("a search path of the caller's does not make functions do other things", SLOW, async () => {
  const url = await database(server, "attacked");
  await server.sql(schemaSql(identifier("holdfast")), "attacked");
  await server.sql("CREATE ROLE evil LOGIN");
  await server.sql(
    "GRANT USAGE ON SCHEMA holdfast TO evil; GRANT CREATE, TEMP ON DATABASE attacked TO evil",
    "attacked",
  );
  await using other = await session(as("evil", url));
  // Whatever of it is ever used says who used it.
  await other.run(`
    CREATE SCHEMA trap;
    CREATE TABLE trap.caught (who text);
    GRANT USAGE ON SCHEMA trap TO PUBLIC;
    GRANT INSERT ON trap.caught TO PUBLIC;
    CREATE FUNCTION trap.greatest_(a bigint, b bigint) RETURNS boolean LANGUAGE plpgsql AS
      'BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN true; END';
    CREATE OPERATOR trap.<= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.greatest_);
    CREATE OPERATOR trap.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.greatest_);
    CREATE OPERATOR trap.< (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.greatest_);
    CREATE FUNCTION trap.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS
      'BEGIN INSERT INTO trap.caught VALUES (current_user); END';
    CREATE FUNCTION trap.md5(text) RETURNS text LANGUAGE plpgsql AS
      'BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN $$x$$; END';
    CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
      'BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN pg_catalog.now(); END';
    CREATE TEMP TABLE claims (key text);
    CREATE TEMP TABLE gone (id text);
    ALTER ROLE evil SET search_path = trap, pg_temp, pg_catalog`);
  await everything(() => postgres(as("evil", url)));
  await other.run(`SET search_path = trap, pg_temp, pg_catalog;
    SELECT holdfast.enter('holdfast/x', NULL, 'a-1', 0, 1, 60000000, 9000000000000000, 1, 'me', 'ear', NULL);
    SELECT holdfast.enter('holdfast/x', NULL, 'a-2', 0, 1, 60000000, 9000000000000000, 1, 'me', 'ear', NULL);
    SELECT holdfast.enter('holdfast/x', NULL, 'a-3', 0, 1, 60000000, 9000000000000000, 3, 'me', 'ear', NULL);
    SELECT holdfast.watch('holdfast/x', NULL, 'ear'); SELECT holdfast.leave('holdfast/x', 'a-3', 0, 1);
    SELECT holdfast.unwatch('holdfast/x', 'ear'); SELECT * FROM holdfast.list('a', 'z');
    SELECT holdfast.sweep(1)`);
  assert.equal(await server.sql("SELECT count(*) FROM trap.caught WHERE who <> 'evil'", "attacked"), "0");
  const helpers = `SELECT string_agg(proname, ',') FROM pg_proc
    WHERE pronamespace = 'holdfast'::regnamespace AND prosecdef
      AND NOT proconfig::text LIKE '%search_path=pg_catalog, pg_temp%'`;
  assert.equal(
    await server.sql(helpers, "attacked"),
    "",
    "each that has its owner's rights has a path of its own",
  );
});

// Red if: who has found the schema once never looks again.
test("dropped while in use: the error says so, and everything is made again", SLOW, async () => {
  for (
    const [what, drop] of Object.entries({
      schema: "DROP SCHEMA holdfast CASCADE",
      tables: "DROP TABLE holdfast.claims, holdfast.gone, holdfast.watchers CASCADE",
      function: "DROP FUNCTION holdfast.renew",
    })
  ) {
    const url = await database(server, `dropped_${what}`);
    await using backend = postgres(url);
    const { lease } = await open(backend);
    const one = claim();
    await enter(lease, one);
    await enter(lease, claim({ wait: false }));
    await server.sql(drop, `dropped_${what}`);
    await assert.rejects(lease.renew([one], CALL), (error: BackendError) => {
      assert.match(error.message, /\(somebody has dropped the (schema|tables|functions)\)/);
      assert.equal(error.retryable, true);
      return true;
    });
    const renewed = await lease.renew([one], CALL);
    assert.equal(renewed.get(one.id)?.state, what === "function" ? "granted" : "gone");
    const two = claim({ key: "holdfast/two" });
    assert.equal((await enter(lease, two)).state, "granted");
    assert.equal(await lease.release(two, ENTERED), true);
  }
});
