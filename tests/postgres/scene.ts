/** What the tests of Postgres have in common. */
import assert from "node:assert/strict";
import type { Claim } from "../../internal/backend.ts";
import { type Backend, LockManager } from "../../mod.ts";
import { until } from "../servers/process.ts";
import type { PostgresServer } from "../servers/postgres.ts";
import { claim, next, over, waiter } from "../support.ts";
import pg from "pg";

/** Where Postgres is, by whatever way leads to a port. */
export function at(port: number): string {
  return `postgres://postgres@127.0.0.1:${port}/postgres`;
}

/** A claim to a key of its own, as each test of a shared server has. */
export function fresh(): Claim {
  return claim({ key: `holdfast/${crypto.randomUUID()}` });
}

/** A session of somebody else, who has nothing to do with locks. */
export interface Session extends AsyncDisposable {
  /** Does one statement, or several. */
  run(text: string): Promise<Record<string, unknown>[]>;
}

/** Opens one. */
export async function session(connectionString: string): Promise<Session> {
  const client = new pg.Client({ connectionString });
  client.on("error", () => {});
  await client.connect();
  return {
    run: async (text) => (await client.query(text)).rows ?? [],
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** A database of its own on a server, with settings for all who connect to it. */
export async function database(
  server: PostgresServer,
  name: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<string> {
  await server.sql(`CREATE DATABASE ${name}`);
  for (const [setting, value] of Object.entries(settings)) {
    await server.sql(`ALTER DATABASE ${name} SET ${setting} = '${value}'`);
  }
  return `postgres://postgres@${server.host}:${server.port}/${name}`;
}

/** Waits until as many sessions of a database wait for what others have locked. */
export async function blocked(server: PostgresServer, count = 1, name = "postgres"): Promise<void> {
  const text = `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '${name}'`;
  await until(async () => Number(await server.sql(text)) >= count, () => "nothing waits");
}

/** Every use of a lock: to hold, to wait, to be handed on, to be shared, stolen, watched, listed. */
export async function everything(open: () => Backend, isPushed = true): Promise<void> {
  // Without notifications, a third of the ttl is waited.
  const options = { ttl: isPushed ? 60_000 : 6_000, retryFor: 60_000 };
  await using a = new LockManager(open(), options);
  await using b = new LockManager(open(), options);
  const key = `everything-${crypto.randomUUID()}`;
  await using watch = isPushed ? b.watch(key) : undefined;
  await watch?.ready;
  const locked = watch && next(watch, "locked");
  const lock = await a.acquire(key, { metadata: { with: "metadata ☃" } });
  await locked;
  await lock.renew();
  assert.equal(await b.tryAcquire(key), undefined);
  const { lock: waiting } = await waiter(b, key);
  const seen = await b.inspect(key);
  assert.deepEqual([seen?.holders.length, seen?.waiters.length], [1, 1]);
  assert.ok((await b.query()).held?.some(({ name }) => name === key));
  assert.equal(await lock.release(), true);
  const handed = await waiting;
  assert.ok(handed.token > lock.token);
  const thief = await a.acquire(key, { steal: true });
  assert.ok(thief.token > handed.token);
  assert.equal((await over(handed)).why, "stolen");
  assert.equal(await thief.release(), true);
  const readers = await Promise.all([a, b].map((locks) => locks.acquire(key, { mode: "shared" })));
  for (const reader of readers) assert.equal(await reader.release(), true);
  assert.equal(await a.inspect(key), undefined);
}
