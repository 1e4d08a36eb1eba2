/**
 * A resource in SQLite that refuses the late write of a holder who has lost its lock: check and write are one transaction.
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { FENCE_TABLE, sqliteFence, StaleTokenError } from "@holdfast/lock/fence";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:");
const db = new DatabaseSync("accounts.db");
db.exec(`${FENCE_TABLE}; CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, balance INTEGER)`);
const fence = sqliteFence(db);

const first = await locks.acquire("account:7");
await write(first, 5);
console.log(`balance: ${await balance()}, by the first holder`);

// As if the first had stopped here for longer than its ttl: another has the lock now, and writes.
const second = await locks.acquire("account:7", { steal: true });
await write(second, 7);
console.log(`balance: ${await balance()}, by the second`);

try {
  await write(first, 6);
} catch (error) {
  if (!(error instanceof StaleTokenError)) throw error;
  console.log("the first, late: refused");
}
console.log(`balance: ${await balance()}`);
await second.release();
db.close();

async function write(lock: Lock, balance: number): Promise<void> {
  db.exec("BEGIN IMMEDIATE");
  try {
    fence.checkSync(lock.key, lock.token); // not awaited: nobody else may use the connection meanwhile
    db.prepare("INSERT OR REPLACE INTO accounts VALUES (7, ?)").run(balance);
    db.exec("COMMIT");
  } catch (error) {
    db.exec("ROLLBACK");
    throw error;
  }
}

async function balance(): Promise<unknown> {
  return db.prepare("SELECT balance FROM accounts WHERE id = 7").get()?.balance;
}

// Prints:
// balance: 5, by the first holder
// balance: 7, by the second
// the first, late: refused
// balance: 7
