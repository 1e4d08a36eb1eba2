/** The fence in Postgres: in the caller's transaction, at every isolation level, through every client. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import pg from "pg";
import postgres from "postgres";
import {
  FENCE_CHECK,
  FENCE_TABLE,
  fenceValues,
  postgresFence,
  type PostgresSql,
  refuseRow,
  StaleTokenError,
} from "../../fence.ts";
import { writesLate } from "../fence/late.ts";
import { refusesSmaller, tellsApart } from "../fence/rule.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { blocked } from "./scene.ts";

const SLOW = { timeout: 120_000 };

const server = await PostgresServer.start();
const sql = postgres(server.url, { onnotice() {} });
const pool = new pg.Pool({ connectionString: server.url });
const ends: (() => unknown)[] = [() => sql.end(), () => pool.end()];
after(async () => {
  for (const end of ends) await end();
  await server[Symbol.asyncDispose]();
});
await sql.unsafe(`${FENCE_TABLE}; CREATE TABLE texts (key text, text text)`);

/** Runs work in a transaction, by what a fence is made of there. */
type Begin = (work: (tx: Parameters<typeof postgresFence>[0]) => Promise<unknown>) => Promise<unknown>;

const CLIENTS: Readonly<Record<string, Begin>> = {
  postgres: (work) => sql.begin(work),
  "postgres, with its own ways": own(),
  pg: async (work) => {
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      await work(client);
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    } finally {
      client.release();
    }
  },
  ...bun(),
};

function own(): Begin {
  const sql = postgres(server.url, { max: 1, prepare: false, transform: { column: (name) => `${name}!` } });
  ends.push(() => sql.end());
  return (work) => sql.begin(work);
}

function bun(): Record<string, Begin> {
  const { Bun } = globalThis as unknown as { Bun?: { SQL: new (url: string) => BunSql } };
  if (!Bun) return {};
  const sql = new Bun.SQL(server.url);
  ends.push(() => sql.close());
  return { "SQL of Bun": (work) => sql.begin(work) };
}

interface BunSql {
  begin(work: (tx: PostgresSql) => Promise<unknown>): Promise<unknown>;
  close(): Promise<void>;
}

for (const [name, begin] of Object.entries(CLIENTS)) {
  const check = async (key: string, token: bigint): Promise<void> => {
    await begin((tx) => postgresFence(tx).check(key, token));
  };

  test(`${name}: smaller than the greatest is refused, whatever the size`, SLOW, async () => {
    await refusesSmaller({ check }, `sizes of ${name}`);
  });

  test(`${name}: what is rolled back was neither written nor seen`, SLOW, async () => {
    const key = `rolled back of ${name}`;
    await check(key, 3n);
    const work = begin(async (tx) => {
      await postgresFence(tx).check(key, 7n);
      throw new Error("changed my mind");
    });
    await assert.rejects(work, /changed my mind/);
    await check(key, 5n);
    await assert.rejects(check(key, 4n), { seen: 5n });
  });

  test(`${name}: an older holder's transaction ends without its write`, SLOW, async () => {
    const key = `late of ${name}`;
    const write = (token: bigint, text: string) =>
      begin(async (tx) => {
        const run = "unsafe" in tx ? tx.unsafe.bind(tx) : tx.query.bind(tx);
        await run("INSERT INTO texts VALUES ($1, $2)", [key, text]); // before the check: it is undone all the same
        await postgresFence(tx).check(key, token);
      });
    await write(1n, "old");
    await write(2n, "new");
    await assert.rejects(write(1n, "late"), new StaleTokenError(key, 1n, 2n));
    const rows = await sql`SELECT text FROM texts WHERE key = ${key}`;
    assert.deepEqual(rows.map(({ text }) => text), ["old", "new"]);
  });
}

/** Two transactions: the first has checked before the second does, and ends once that waits for it. */
async function meet(
  level: string,
  key: string,
  [first, second]: readonly [bigint, bigint],
  end: "COMMIT" | "ROLLBACK",
): Promise<PromiseSettledResult<unknown>> {
  const [one, two] = [new pg.Client(server.url), new pg.Client(server.url)];
  await Promise.all([one.connect(), two.connect()]);
  try {
    for (const client of [one, two]) {
      await client.query(`BEGIN ISOLATION LEVEL ${level}`);
      await client.query("SELECT count(*) FROM texts"); // from here on it may see the database as it is now
    }
    await postgresFence(one).check(key, first);
    const waits = Promise.allSettled([postgresFence(two).check(key, second).then(() => two.query("COMMIT"))]);
    await blocked(server);
    await one.query(end);
    return (await waits)[0]!;
  } finally {
    await Promise.all([one.end(), two.end()]);
  }
}

for (const level of ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]) {
  for (const row of ["first", "known"]) {
    const prepared = async (key: string) => {
      if (row === "known") await postgresFence(sql).check(key, 1n);
      return key;
    };

    test(`${level}, ${row} row: an older one that waited for a newer one is refused`, SLOW, async () => {
      const key = await prepared(`${level} ${row} older`);
      const { reason } = await meet(level, key, [7n, 6n], "COMMIT") as PromiseRejectedResult;
      if (level === "READ COMMITTED") assert.deepEqual(reason, new StaleTokenError(key, 6n, 7n));
      else assert.equal(reason.code, "40001");
      await assert.rejects(postgresFence(sql).check(key, 6n), { seen: 7n });
    });

    test(
      `${level}, ${row} row: a newer one waits for an older one, and passes or begins again`,
      SLOW,
      async () => {
        const key = await prepared(`${level} ${row} newer`);
        const { status, reason } = await meet(level, key, [6n, 7n], "COMMIT") as PromiseRejectedResult;
        if (level === "READ COMMITTED") assert.equal(status as string, "fulfilled");
        else assert.equal(reason.code, "40001");
        await postgresFence(sql).check(key, 7n);
        await assert.rejects(postgresFence(sql).check(key, 6n), { seen: 7n });
      },
    );

    test(`${level}, ${row} row: one that waited for what is rolled back passes`, SLOW, async () => {
      const key = await prepared(`${level} ${row} rolled back`);
      assert.equal((await meet(level, key, [7n, 6n], "ROLLBACK")).status, "fulfilled");
      await assert.rejects(postgresFence(sql).check(key, 5n), { seen: 6n });
    });
  }
}

test(
  "a crowd of checks at once: the greatest is remembered, and nobody who passed was behind it",
  SLOW,
  async () => {
    const key = "crowd";
    const tokens = Array.from({ length: 60 }, (_, at) => BigInt((at * 37) % 60));
    const passed: bigint[] = [];
    await Promise.all(tokens.map((token) =>
      sql.begin(async (tx) => {
        await postgresFence(tx).check(key, token);
        await tx`INSERT INTO texts VALUES (${key}, ${String(token)})`;
      }).then(() => passed.push(token), (error) => assert.equal(error.code, "stale"))
    ));
    const rows = await sql`SELECT text FROM texts WHERE key = ${key} ORDER BY ctid`;
    const written = rows.map(({ text }) => BigInt(text));
    assert.deepEqual(written.toSorted((a, b) => Number(a - b)), passed.toSorted((a, b) => Number(a - b)));
    await assert.rejects(postgresFence(sql).check(key, 58n), { seen: 59n });
  },
);

test("keys that look alike are not one, and the longest fits", SLOW, async () => {
  const random = String.fromCharCode(...crypto.getRandomValues(new Uint16Array(512))); // cannot be compressed
  await tellsApart(postgresFence(sql), ["字".repeat(512), random]);
});

test("the statement does the same by itself", SLOW, async () => {
  const statement = FENCE_CHECK.replace("?, ?", "$1, $2");
  const check = async (token: bigint) => {
    const { rows } = await pool.query(statement, fenceValues("statement", token));
    refuseRow("statement", token, rows[0]);
  };
  await check(7n);
  await assert.rejects(check(6n), new StaleTokenError("statement", 6n, 7n));
});

test("without its table nothing passes, and what is no client is refused", SLOW, async () => {
  await server.sql("CREATE DATABASE bare");
  const bare = new pg.Pool({ connectionString: server.url.replace(/[^/]*$/, "bare") });
  ends.push(() => bare.end());
  await assert.rejects(postgresFence(bare).check("k", 1n), { code: "42P01" });
  for (const wrong of [undefined, {}, "postgres://localhost"]) {
    assert.throws(() => postgresFence(wrong as never), {
      name: "TypeError",
      message: /transaction of postgres/,
    });
  }
});

for (const kind of ["postgres", "pg"] as const) {
  test(`${kind}: a holder that was stopped past its ttl writes late`, SLOW, async () => {
    await server.sql(`CREATE DATABASE late_${kind}`);
    await writesLate({ kind, at: server.url.replace(/[^/]*$/, `late_${kind}`) });
  });
}
