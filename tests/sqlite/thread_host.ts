/**
 * Does as `worker.ts` does, by a thread of this process; and ends that thread at the order "terminate".
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";

const script = fileURLToPath(new URL("./thread.ts", import.meta.url));
const thread = new Worker(script, { argv: process.argv.slice(2), workerData: process.argv[2] });
thread.on("message", (line: Record<string, unknown>) => console.log(JSON.stringify(line)));
thread.on("error", (error) => console.error(error));
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, act } = JSON.parse(line) as { id: number; act: string };
  if (act !== "terminate") return thread.postMessage(line);
  await thread.terminate();
  console.log(JSON.stringify({ id, at: performance.timeOrigin + performance.now() }));
}).on("close", () => process.exit(0));
