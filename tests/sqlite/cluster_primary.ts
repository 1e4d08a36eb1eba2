/** Runs `worker.ts` as a worker of `node:cluster`, which has the input and output of this process. */
import cluster from "node:cluster";
import process from "node:process";
import { fileURLToPath } from "node:url";

cluster.setupPrimary({
  exec: fileURLToPath(new URL("./worker.ts", import.meta.url)),
  args: process.argv.slice(2),
});
const worker = cluster.fork();
worker.on("exit", (code) => process.exit(code ?? 1));
