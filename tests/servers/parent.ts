/** Starts a server with a child process, says which, and waits to be killed: for `process_test.ts`. */
import { childrenOf } from "./children.ts";
import { ServerProcess } from "./process.ts";
import { dataFolder } from "./reaper.ts";

const folder = dataFolder("sleep");
const server = ServerProcess.launch({
  name: "sleep",
  binary: "/bin/sh",
  args: ["-c", "sleep 600 & wait"],
  folder,
  ready: () => Promise.resolve(childrenOf(server.pid!).length === 1),
});
await server.ready();
console.log(JSON.stringify({ pids: [server.pid, ...childrenOf(server.pid!)], folder }));
setInterval(() => {}, 60_000);
