/**
 * A resource in Redis that refuses the late write of a holder who has lost its lock: check and write are one script.
 *
 * `HOLDFAST_STORE` is a URL that ioredis reads as well: `redis://user:password@host:port`, `rediss://` for TLS.
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { redisFence, StaleTokenError } from "@holdfast/lock/fence";
import { Redis } from "ioredis";
import process from "node:process";

const url = process.env.HOLDFAST_STORE ?? "redis://127.0.0.1:6379";
if (!/^rediss?:/.test(url)) throw new TypeError("This program takes redis://host:port or rediss://host:port");
await using locks = connect(url);
const client = new Redis(url);
const fence = redisFence(client);

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
await client.quit();

async function write(lock: Lock, balance: number): Promise<void> {
  // The braces put the balance into the slot of the lock's key, as a Cluster wants it.
  await fence.write(lock.key, lock.token, [["SET", "{account:7}:balance", balance]]);
}

async function balance(): Promise<string | null> {
  return await client.get("{account:7}:balance");
}

// Prints:
// balance: 5, by the first holder
// balance: 7, by the second
// the first, late: refused
// balance: 7
