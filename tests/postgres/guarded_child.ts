/** A holder that works under its lock in a transaction, and commits when it is told to. Arguments: URL, ttl, timeout. */
import process from "node:process";
import { createInterface } from "node:readline";
import client from "postgres";
import { guarded, postgres } from "../../backends/postgres.ts";
import { LockManager } from "../../mod.ts";

const [url, ttl, timeout] = process.argv.slice(2);
const sql = client(url!, { max: 2, onnotice: () => {} });
const locks = new LockManager(postgres(sql), { ttl: Number(ttl) });
const lock = await locks.acquire("k");
const order = new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));
const outcome = await guarded(sql, lock, async (tx) => {
  await tx`INSERT INTO ledger (token, writer) VALUES (${String(lock.token)}, 'child')`;
  console.log("written");
  await order;
}, { timeout: Number(timeout) }).then(() => "committed", (error) => `${error.name}`);
console.log(outcome);
await locks.close();
await sql.end({ timeout: 1 });
process.exit(0);
