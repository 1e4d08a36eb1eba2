import pg from "pg";
import postgresjs from "postgres";
import { postgres, type PostgresTarget } from "../../backends/postgres.ts";
import type { Harness } from "../conformance/mod.ts";
import { PgBouncer, PostgresServer } from "../servers/postgres.ts";
import { partition } from "./partition.ts";

/** One server. */
export async function harness(): Promise<Harness> {
  const server = await PostgresServer.start();
  return {
    ...over("postgres", server, () => server.url),
    partition: () =>
      partition([server], (port) => postgres(`postgres://postgres@127.0.0.1:${port}/postgres`)),
  };
}

/** Through PgBouncer in transaction mode; notifications come from the server itself. */
export async function bouncerHarness(): Promise<Harness> {
  const server = await PostgresServer.start();
  const bouncer = await PgBouncer.start(server);
  return {
    ...over("postgres, behind PgBouncer", server, () => bouncer.url),
    open: () => postgres(bouncer.url, { listen: server.url }),
    async [Symbol.asyncDispose]() {
      await bouncer[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Through a pool of the package `pg` that is handed in. */
export async function poolHarness(): Promise<Harness> {
  const server = await PostgresServer.start();
  return handedIn("postgres, a pool of pg", server, new pg.Pool({ connectionString: server.url }));
}

/** Through a client of the package `postgres` that is handed in. */
export async function clientHarness(): Promise<Harness> {
  const server = await PostgresServer.start();
  return handedIn("postgres, a client handed in", server, postgresjs(server.url));
}

function handedIn(name: string, server: PostgresServer, client: pg.Pool | postgresjs.Sql): Harness {
  return {
    ...over(name, server, () => client),
    async [Symbol.asyncDispose]() {
      await client.end();
      await server[Symbol.asyncDispose]();
    },
  };
}

function over(name: string, server: PostgresServer, target: () => PostgresTarget): Harness {
  return {
    name,
    open: () => postgres(target()),
    revoke: (key) => revoke(server, key),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** An operator removes who holds: by the function for it, as deleting the rows by hand would not let in the next. */
export async function revoke(server: PostgresServer, key: string): Promise<void> {
  await server.sql(`
    SELECT holdfast.leave(c.key, c.id, c.token, 0)
    FROM holdfast.claims c JOIN holdfast.claims q ON q.key = c.key AND q.place = 0
    WHERE c.key = '${key}' AND c.id IS NOT NULL AND (q.edge IS NULL OR c.token < q.edge)`);
}
