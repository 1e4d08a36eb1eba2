/** Run as a process of its own: what its listeners throw ends up as uncaught errors. */
import process from "node:process";
import { memory } from "../../backends/memory.ts";
import { LockManager } from "../../mod.ts";

const faults: string[] = [];
process.on("uncaughtException", (error) => faults.push(error.message));
const fault = (event: Event): never => {
  throw new Error(event.type);
};

const locks = new LockManager(memory());
locks.addEventListener("acquired", fault);
const lock = await locks.acquire("k");
const acquired = lock.held;
lock.addEventListener("renewed", fault);
lock.signal.addEventListener("abort", fault);
lock.addEventListener("released", fault);
const waiting = new Promise((resolve) => locks.addEventListener("waiting", resolve, { once: true }));
const next = locks.acquire("k", { metadata: "successor" });
await waiting;
await lock.renew();
const renewed = lock.held;
locks.removeEventListener("acquired", fault);
const released = await lock.release();
const successor = (await next).held;
await locks.close();
await new Promise((resolve) => setTimeout(resolve, 10)); // what was thrown surfaces in later turns
console.log(JSON.stringify({ acquired, renewed, released, successor, aborted: lock.signal.aborted, faults }));
