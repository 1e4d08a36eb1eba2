/** Asks a server from which nothing comes, closes, and must come to an end by itself. */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { etcd } from "../../backends/etcd.ts";
import { LockManager } from "../../mod.ts";

const locks = new LockManager(etcd(process.argv[2]), { ttl: 2_000 });
const waiting = locks.acquire("k").catch(() => console.log("rejected"));
await sleep(200); // so that it is connected, and has asked
await locks.close();
await waiting;
console.log("closed");
