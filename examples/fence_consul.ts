/**
 * A resource in Consul that refuses the late write of a holder who has lost its lock: the write is a transaction that
 * checks the index that the fence has left.
 *
 * `HOLDFAST_STORE` is `consul://host:port`, of an agent without TLS and tokens.
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { consulFence, StaleTokenError } from "@holdfast/lock/fence";
import Consul from "consul";
import process from "node:process";

const url = process.env.HOLDFAST_STORE ?? "consul://127.0.0.1:8500";
if (!/^consul:/.test(url)) throw new TypeError("This program takes consul://host:port");
await using locks = connect(url);
const { hostname, port } = new URL(url);
const client = new Consul({ host: hostname, port: Number(port || 8500) });
const fence = consulFence(client);

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
client.destroy();

async function write(lock: Lock, balance: number): Promise<void> {
  const guard = await fence.guard(lock.key, lock.token);
  const set = { KV: { Verb: "set", Key: "accounts/7", Value: btoa(`${balance}`) } };
  try {
    await client.transaction.create([guard, set] as never); // the types of the package want something else
  } catch (error) {
    await fence.check(lock.key, lock.token); // throws if a later holder has come between
    throw error;
  }
}

async function balance(): Promise<string | null | undefined> {
  return (await client.kv.get("accounts/7"))?.Value;
}

// Prints:
// balance: 5, by the first holder
// balance: 7, by the second
// the first, late: refused
// balance: 7
