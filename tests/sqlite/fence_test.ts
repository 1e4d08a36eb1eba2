/** The fence in SQLite: the write and its check are one transaction, whatever comes between. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import {
  FENCE_CHECK,
  FENCE_TABLE,
  fenceValues,
  refuseRow,
  sqliteFence,
  StaleTokenError,
} from "../../fence.ts";
import { writesLate } from "../fence/late.ts";
import { refusesSmaller, tellsApart } from "../fence/rule.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-fence-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const fresh = () => join(folder, `${++files}.db`);

/** What all the databases can do. */
type Database = Pick<DatabaseSync, "exec" | "prepare" | "close">;

const KINDS: Readonly<Record<string, (path: string) => Database>> = {
  "node:sqlite": (path) => new DatabaseSync(path),
  ...("Bun" in globalThis && {
    "bun:sqlite": (path: string) => new (createRequire(import.meta.url)("bun:sqlite").Database)(path),
  }),
};

for (const [name, make] of Object.entries(KINDS)) {
  const open = (path: string) => {
    const db = make(path);
    db.exec(`PRAGMA busy_timeout = 5000; ${FENCE_TABLE}; CREATE TABLE IF NOT EXISTS texts (text TEXT)`);
    return db;
  };

  test(`${name}: smaller than the greatest is refused, whatever the size`, async () => {
    const db = open(":memory:");
    const fence = sqliteFence(db);
    await refusesSmaller(fence, "k");
    assert.throws(() => fence.checkSync("k", 9n), new StaleTokenError("k", 9n, 10n ** 40n - 1n));
    fence.checkSync("another", 1n);
    db.close();
  });

  test(`${name}: keys that look alike are not one`, async () => {
    const db = open(":memory:");
    await tellsApart(sqliteFence(db));
    db.close();
  });

  test(`${name}: what is rolled back was not seen`, () => {
    const db = open(":memory:");
    const fence = sqliteFence(db);
    db.exec("BEGIN IMMEDIATE");
    fence.checkSync("k", 3n);
    db.exec("COMMIT");
    db.exec("BEGIN IMMEDIATE");
    fence.checkSync("k", 7n);
    db.exec("ROLLBACK");
    fence.checkSync("k", 5n);
    assert.throws(() => fence.checkSync("k", 4n), { seen: 5n });
    db.close();
  });

  test(`${name}: a transaction that began before a later holder wrote does not write`, () => {
    const path = fresh();
    const [first, second] = [open(path), open(path)];
    first.exec("PRAGMA journal_mode = WAL; BEGIN");
    first.prepare("SELECT * FROM holdfast_fence").all(); // from here on it sees the database as it is now
    sqliteFence(second).checkSync("k", 2n);
    assert.throws(
      () => sqliteFence(first).checkSync("k", 1n),
      (error) => !(error instanceof StaleTokenError),
    );
    first.exec("ROLLBACK; BEGIN");
    assert.throws(() => sqliteFence(first).checkSync("k", 1n), new StaleTokenError("k", 1n, 2n));
    first.exec("ROLLBACK");
    for (const db of [first, second]) db.close();
  });
}

test("without its table, and with what is no token in it, nothing passes", () => {
  const db = new DatabaseSync(":memory:");
  const fence = sqliteFence(db);
  assert.throws(() => fence.checkSync("k", 1n), /holdfast_fence/);
  db.exec(`${FENCE_TABLE}; INSERT INTO holdfast_fence VALUES ('k', 'seven')`);
  assert.throws(() => fence.checkSync("k", 1n), /not written by a fence/);
  db.close();
});

test("the statement does the same by itself", () => {
  const db = new DatabaseSync(":memory:");
  db.exec(FENCE_TABLE);
  const check = (token: bigint) =>
    refuseRow("k", token, db.prepare(FENCE_CHECK).get(...fenceValues("k", token)));
  check(7n);
  check(7n);
  assert.throws(() => check(6n), new StaleTokenError("k", 6n, 7n));
  assert.throws(() => refuseRow("k", 6n, undefined), /not written by a fence/);
  db.close();
});

test("what is no database is refused", () => {
  for (const wrong of [undefined, {}, "file.db"]) {
    assert.throws(() => sqliteFence(wrong as never), {
      name: "TypeError",
      message: /node:sqlite or bun:sqlite/,
    });
  }
});

test("a holder that was stopped past its ttl writes late", { timeout: 120_000 }, async () => {
  await writesLate({ kind: "sqlite", at: fresh() });
});
