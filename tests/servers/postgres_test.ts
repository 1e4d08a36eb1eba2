/** The launchers of Postgres: a server and its faults, a replica, PgBouncer. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { alive, childrenOf } from "./children.ts";
import { PgBouncer, PostgresPair, PostgresServer } from "./postgres.ts";

/** These tests are about processes, not about disks. */
const args = ["-c", "fsync=off"];

const server = await PostgresServer.start({ args });
after(() => server[Symbol.asyncDispose]());

test("a server is started again with its data, even after a SIGKILL", async () => {
  await server.sql("create table kept as select 'kept' as word");
  await server.restart();
  assert.equal(await server.sql("table kept"), "kept");
  await using client = connect(server);
  await client.sql`select 1`;
  const processes = [server.process.pid!, ...childrenOf(server.process.pid!)];
  await server.kill();
  assert.deepEqual(processes.filter(alive), []);
  await server.restart();
  assert.equal(await server.sql("table kept"), "kept");
});

test("a paused server leaves the queries on its connections unanswered until it is resumed", async () => {
  await using client = connect(server);
  await client.sql`select 1`;
  server.pause();
  const answer = client.sql`select 2 as n`.then(([row]) => row!.n);
  assert.equal(await Promise.race([answer, sleep(100, "none")]), "none");
  server.resume();
  assert.equal(await answer, 2);
});

test("nothing is left of a server, not even of one that was paused or killed", async () => {
  for (const end of ["pause", "kill"] as const) {
    const own = await PostgresServer.start({ args });
    const postmaster = own.process.pid!;
    const processes = [postmaster, ...childrenOf(postmaster)];
    const memory = readFileSync(join(own.folder, "data/postmaster.pid"), "utf8").split(/\s+/).at(-3)!;
    assert.equal(isShared(memory), true);
    await own[end]();
    await own[Symbol.asyncDispose]();
    assert.deepEqual(processes.filter(alive), []);
    assert.equal(isShared(memory), false);
    assert.equal(existsSync(own.folder), false);
  }
});

test("with TLS, a server takes no other connections over TCP", async () => {
  await using own = await PostgresServer.start({ args, tls: true });
  await using plain = connect(own);
  await assert.rejects(plain.sql`select 1`, /no encryption/);
  await using client = connect(own, { ssl: "require" });
  const [row] = await client.sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
  assert.equal(row!.ssl, true);
});

test("a synchronous replica shows what is committed, and takes over", async () => {
  await using pair = await PostgresPair.start({ synchronous: true, args });
  await pair.primary.sql("create table copied as select 'copied' as word");
  assert.equal(await pair.replica.sql("table copied"), "copied");
  await assert.rejects(pair.replica.sql("delete from copied"), /read-only transaction/);
  await pair.primary.kill();
  await pair.promote();
  await pair.replica.sql("insert into copied values ('written')");
});

test("PgBouncer gives a client one connection of the server after another", async () => {
  await using bouncer = await PgBouncer.start(server);
  await using client = connect(bouncer);
  await using other = connect(bouncer);
  const first = await backend(client.sql);
  await other.sql.begin(async (transaction) => {
    assert.equal(await backend(transaction), first);
    assert.notEqual(await backend(client.sql), first);
  });
});

/** One connection, without prepared statements. */
function connect({ url }: { url: string }, options: postgres.Options<Record<never, never>> = {}) {
  const sql = postgres(url, { max: 1, prepare: false, fetch_types: false, onnotice: () => {}, ...options });
  return { sql, [Symbol.asyncDispose]: () => sql.end({ timeout: 1 }) };
}

/** Whether there is shared memory of that id, which would outlive its processes. */
function isShared(id: string): boolean {
  const segments = readFileSync("/proc/sysvipc/shm", "utf8").split("\n").slice(1);
  return segments.some((line) => line.trim().split(/\s+/)[1] === id);
}

/** The process id of the server's end. */
async function backend(sql: postgres.ISql): Promise<number> {
  const [row] = await sql.unsafe("select pg_backend_pid() as pid");
  return row!.pid;
}
