/**
 * A resource in etcd that refuses the late write of a holder who has lost its lock: the write is a transaction that
 * compares what the check has left.
 *
 * `HOLDFAST_STORE` is `etcd://host:port`, of one member without TLS and users.
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { etcdFence, StaleTokenError } from "@holdfast/lock/fence";
import { Etcd3 } from "etcd3";
import process from "node:process";

const url = process.env.HOLDFAST_STORE ?? "etcd://127.0.0.1:2379";
if (!/^etcd:/.test(url)) throw new TypeError("This program takes etcd://host:port");
await using locks = connect(url);
const { hostname, port } = new URL(url);
const client = new Etcd3({ hosts: `http://${hostname}:${port || 2379}` });
const fence = etcdFence(client);

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
client.close();

async function write(lock: Lock, balance: number): Promise<void> {
  const { key, value } = await fence.guard(lock.key, lock.token);
  const { succeeded } = await client.if(key, "Value", "==", value)
    .then(client.put("accounts/7").value(balance))
    .commit();
  if (!succeeded) await fence.check(lock.key, lock.token); // throws: a later holder has come between
}

async function balance(): Promise<string | null> {
  return await client.get("accounts/7").string();
}

// Prints:
// balance: 5, by the first holder
// balance: 7, by the second
// the first, late: refused
// balance: 7
