/** Leaves a lock held, a waiter and a watch behind, closes, and must come to an end by itself. */
import process from "node:process";
import { etcd } from "../../backends/etcd.ts";
import { LockManager } from "../../mod.ts";

const locks = new LockManager(etcd(process.argv[2]));
await locks.acquire("k");
const waiting = locks.acquire("k").catch(() => console.log("rejected"));
const watch = locks.watch("k");
await watch.ready;
await locks.close();
await waiting;
console.log("closed");
