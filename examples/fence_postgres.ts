/**
 * A resource in Postgres that refuses the late write of a holder who has lost its lock: check and write are one
 * transaction. The lock may be in another store; if it is in this database, `guarded` does without a token.
 *
 * `HOLDFAST_STORE` is `postgres://user:password@host:port/database`.
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { FENCE_TABLE, postgresFence, StaleTokenError } from "@holdfast/lock/fence";
import process from "node:process";
import postgres from "postgres";

const url = process.env.HOLDFAST_STORE ?? "postgres://app@127.0.0.1:5432/app";
if (!/^postgres(ql)?:/.test(url)) {
  throw new TypeError("This program takes postgres://user@host:port/database");
}
await using locks = connect(url);
const sql = postgres(url, { onnotice: () => {} });
await sql.unsafe(`${FENCE_TABLE}; CREATE TABLE IF NOT EXISTS accounts (id int PRIMARY KEY, balance int)`);

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
await sql.end();

async function write(lock: Lock, balance: number): Promise<void> {
  await sql.begin(async (tx) => {
    await postgresFence(tx).check(lock.key, lock.token);
    await tx`INSERT INTO accounts VALUES (7, ${balance}) ON CONFLICT (id) DO UPDATE SET balance = excluded.balance`;
  });
}

async function balance(): Promise<number> {
  const [account] = await sql`SELECT balance FROM accounts WHERE id = 7`;
  return account?.balance;
}

// Prints:
// balance: 5, by the first holder
// balance: 7, by the second
// the first, late: refused
// balance: 7
