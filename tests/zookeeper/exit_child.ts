/** Holds, waits, watches and looks; told to, it closes, and has nothing left that would keep it alive. */
import process from "node:process";
import { zookeeper } from "../../backends/zookeeper.ts";
import { LockManager } from "../../mod.ts";

const locks = new LockManager(zookeeper({ address: process.argv[2]!, tickTime: 500 }), { ttl: 10_000 });
const lock = await locks.acquire("exits");
locks.acquire("exits").catch(() => {});
const watch = locks.watch("exits");
await watch.ready;
await locks.inspect("exits");
await lock.renew();
console.log("ready");
process.stdin.once("data", async () => {
  process.stdin.destroy();
  await locks.close();
});
