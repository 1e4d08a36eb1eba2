import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqlite } from "../../backends/sqlite.ts";
import { openDatabase, type Result } from "../../backends/sqlite/client/database.ts";
import { holders } from "../../internal/queue.ts";
import type { Harness } from "../conformance/mod.ts";

/** One file, and a connection to it for each backend. */
export async function harness(): Promise<Harness> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-"));
  const path = join(folder, "locks.db");
  return {
    name: "sqlite",
    open: () => sqlite(path),
    revoke: (key) => Promise.resolve(revoke(path, key)),
    tells: false, // of rows that another program deletes
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Deletes the rows of the holders, as an operator would with `sqlite3`. */
function revoke(path: string, key: string): void {
  const database = openDatabase(path, { readOnly: false });
  database.exec("PRAGMA busy_timeout = 1000");
  const statement = database.prepare(`SELECT seq, "limit" FROM claims WHERE key = ? ORDER BY seq`);
  const queue = statement.all(key) as Result[];
  const held = holders(queue.map(({ limit }) => ({ limit: Number(limit) })));
  for (const { seq } of queue.slice(0, held)) {
    database.prepare("DELETE FROM claims WHERE key = ? AND seq = ?").run(key, seq!);
  }
  database.close();
}
