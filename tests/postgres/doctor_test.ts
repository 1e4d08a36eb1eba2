/** What `holdfast doctor` finds in Postgres that is really set up so. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { postgres, postgresSchema } from "../../backends/postgres.ts";
import { LockManager } from "../../mod.ts";
import { assertFound, examined, PASSWORD, unsafeTopics } from "../doctor.ts";
import { ServerClock } from "../servers/clock.ts";
import { PgBouncer, PostgresPair, PostgresServer } from "../servers/postgres.ts";
import { Proxy } from "../servers/proxy.ts";

const SLOW = { timeout: 120_000 };

const server = await PostgresServer.start();
after(() => server[Symbol.asyncDispose]());

const as = (user: string, url = server.url) => url.replace("postgres@", `${user}:${PASSWORD}@`);

test("the schema: not made by looking, and who may make and use it", async () => {
  const fresh = await examined(server.url);
  assert.deepEqual(unsafeTopics(fresh), []);
  assertFound(fresh, "schema", "note", /not there yet/);
  assert.equal(fresh.some(({ topic }) => topic === "lock"), false);
  assertFound(await examined(server.url, { ttl: 100 }), "ttl", "unsafe", /100 ms is refused: .* from 500 ms/);
  assert.equal(await server.sql("select count(*) from pg_namespace where nspname = 'holdfast'"), "0");
  await server.sql("create role app login");
  const poor = await examined(as("app"));
  assert.deepEqual(unsafeTopics(poor), ["schema"]);
  assertFound(
    poor,
    "schema",
    "unsafe",
    /app may not make it: an administrator .*jsr:@holdfast\/lock\/postgres/,
  );
  await server.sql(postgresSchema());
  assertFound(await examined(as("app")), "schema", "unsafe", /GRANT USAGE ON SCHEMA "holdfast" TO "app"/);
  await server.sql("grant usage on schema holdfast to app");
  const findings = await examined(as("app"));
  assert.deepEqual(unsafeTopics(findings), []);
  for (const topic of ["disk", "schema", "clock", "round trip", "lock"]) assertFound(findings, topic, "good");
  await using locks = new LockManager(postgres(server.url));
  assert.deepEqual(await locks.query(), { held: [], pending: [] });
  await server.sql("create schema other");
  assertFound(await examined(`${server.url}?schema=other`), "schema", "note", /without what a lock needs/);
  await server.sql("create function other.version() returns integer language sql as 'select 99'");
  assertFound(
    await examined(`${server.url}?schema=other`),
    "schema",
    "unsafe",
    /version 99.*update @holdfast\/lock/,
  );
});

test("settings that make grants vanish, or calls fail", SLOW, async () => {
  const args = ["-c", "fsync=off", "-c", "autovacuum=off", "-c", "statement_timeout=1s"];
  await using risky = await PostgresServer.start({ args });
  const findings = await examined(risky.url);
  assert.deepEqual(unsafeTopics(findings), ["disk"]);
  assertFound(findings, "disk", "unsafe", /fsync is off/);
  assertFound(findings, "autovacuum", "note", /It is off/);
  assertFound(findings, "timeout", "note", /statement_timeout is 1 s/);
  const short = await examined(risky.url, { ttl: 2_000 });
  assert.equal(short.some(({ topic }) => topic === "timeout"), false);
});

test("a failover loses locks unless a standby is waited for, and a standby gives none", SLOW, async () => {
  const args = ["-c", "fsync=off"];
  await using loose = await PostgresPair.start({ args });
  assertFound(
    await examined(loose.primary.url),
    "failover",
    "note",
    /not waited for: 1.*synchronous_standby_names/,
  );
  assertFound(await examined(loose.replica.url), "role", "unsafe", /standby/);
  await using strict = await PostgresPair.start({ synchronous: true, args });
  assertFound(await examined(strict.primary.url), "failover", "good", /keeps all locks/);
  const local = `${strict.primary.url}?options=${encodeURIComponent("-c synchronous_commit=local")}`;
  assertFound(await examined(local), "failover", "note", /not waited for/);
  assertFound(await examined(server.url), "failover", "good", /no standby/);
});

test("a pooler that passes no notifications on is told, unless `listen` leads past it", SLOW, async () => {
  await server.sql(postgresSchema());
  await using bouncer = await PgBouncer.start(server);
  const findings = await examined(bouncer.url, { ttl: 6_000 });
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "warning", "note", /pooler.*`listen`/);
  const listening = await examined(`${bouncer.url}?listen=${encodeURIComponent(server.url)}`, { ttl: 6_000 });
  assert.equal(listening.some(({ topic }) => topic === "warning"), false);
});

test("a clock that is an hour behind is told", SLOW, async () => {
  const clock = await ServerClock.create();
  clock.step(-3_600_000);
  await using behind = await PostgresServer.start({ env: clock.env });
  assertFound(await examined(behind.url), "clock", "note", /behind this machine/);
});

test(
  "what a login is refused for is a finding; a server that is away, or says nothing, an error",
  SLOW,
  async () => {
    const findings = await examined(as("nobody"));
    assert.deepEqual(unsafeTopics(findings), ["access"]);
    assertFound(findings, "access", "unsafe", /nobody/);
    await assert.rejects(examined(`postgres://app:${PASSWORD}@127.0.0.1:1/app`), { name: "BackendError" });
    await using proxy = await Proxy.start(server);
    proxy.cut();
    await assert.rejects(examined(`postgres://postgres@127.0.0.1:${proxy.port}/postgres`, { timeout: 500 }), {
      name: "BackendError",
    });
  },
);
