/** A thread that takes a lock when it is told to. */
import process from "node:process";
import { parentPort, workerData } from "node:worker_threads";
import { sqlite } from "../../backends/sqlite.ts";
import { LockManager } from "../../mod.ts";

const manager = new LockManager(sqlite(workerData as string));
const port = parentPort!;
port.on("message", async (line: string) => {
  const { id, key, options } = JSON.parse(line);
  const { held, token } = await manager.acquire(key, options);
  port.postMessage({ id, at: performance.timeOrigin + performance.now(), held, token: String(token) });
});
port.postMessage({ heard: "ready", at: performance.timeOrigin + performance.now(), pid: process.pid });
