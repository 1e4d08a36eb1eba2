/**
 * Does as `worker.ts` does, by a thread of this process, beside another one that holds a lock of its own. The
 * order "terminate" ends the thread, or that "sibling".
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

const script = fileURLToPath(new URL("./thread.ts", import.meta.url));

/** Resolves once it is ready. */
async function start(key: string): Promise<Worker> {
  const thread = new Worker(script, { workerData: [process.argv[2], key] });
  thread.on("error", (error) => console.error(error));
  await new Promise((resolve) => thread.once("message", resolve));
  return thread;
}

function say(line: Record<string, unknown>): void {
  console.log(JSON.stringify({ at: performance.timeOrigin + performance.now(), ...line }));
}

const [thread, sibling] = [await start(""), await start("sibling")];
thread.on("message", say);
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, act, key } = JSON.parse(line) as { id: number; act: string; key: string };
  if (act !== "terminate") return thread.postMessage(line);
  await (key === "sibling" ? sibling : thread).terminate();
  say({ id });
}).on("close", () => process.exit(0));
say({ heard: "ready", pid: process.pid });
