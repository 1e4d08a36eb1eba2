/** A thread that takes a lock at once, if one is named, and others when it is told to; see `thread_host.ts`. */
import { parentPort, workerData } from "node:worker_threads";
import { sqlite } from "../../backends/sqlite.ts";
import { LockManager } from "../../mod.ts";

const [path, first] = workerData as [string, string];
const manager = new LockManager(sqlite(path));
const port = parentPort!;
if (first !== "") await manager.acquire(first);
let lock: Awaited<ReturnType<typeof manager.acquire>>;
port.on("message", async (line: string) => {
  const { id, act, key, options } = JSON.parse(line);
  if (act === "acquire") lock = await manager.acquire(key, options);
  port.postMessage({ id, held: lock.held, token: String(lock.token) });
});
port.postMessage("ready");
