/**
 * A resource in ZooKeeper that refuses the late write of a holder who has lost its lock: the write is a multi with a
 * check of the version that the fence has left.
 *
 * `HOLDFAST_STORE` is `zookeeper://host:port,host:port`, of servers without users.
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { StaleTokenError, zookeeperFence } from "@holdfast/lock/fence";
import { Buffer } from "node:buffer";
import process from "node:process";
import { promisify } from "node:util";
import zookeeper from "node-zookeeper-client";

const url = process.env.HOLDFAST_STORE ?? "zookeeper://127.0.0.1:2181";
if (!/^zookeeper:/.test(url)) throw new TypeError("This program takes zookeeper://host:port");
await using locks = connect(url);
const client = zookeeper.createClient(new URL(url).host);
client.connect();
const fence = zookeeperFence(client);
await promisify((path: string, done: (error: unknown) => void) => client.mkdirp(path, done))("/accounts/7");

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
  const { path, version } = await fence.guard(lock.key, lock.token);
  const failure = await new Promise<unknown>((resolve) =>
    client.transaction().check(path, version).setData("/accounts/7", Buffer.from(`${balance}`)).commit(
      resolve,
    )
  );
  if (!failure) return;
  await fence.check(lock.key, lock.token); // throws if a later holder has come between
  throw failure;
}

function balance(): Promise<string> {
  return new Promise((resolve, reject) =>
    client.getData("/accounts/7", (error, data) => error ? reject(error) : resolve(`${data}`))
  );
}

// Prints:
// balance: 5, by the first holder
// balance: 7, by the second
// the first, late: refused
// balance: 7
