/** Starts a server, says which, and waits to be killed: for `process_test.ts`. */
import { ServerProcess } from "./process.ts";
import { dataFolder } from "./reaper.ts";

const folder = dataFolder("sleep");
const server = await ServerProcess.start({
  name: "sleep",
  binary: "sleep",
  args: ["600"],
  folder,
  ready: () => Promise.resolve(true),
});
console.log(JSON.stringify({ pid: server.pid, folder }));
setInterval(() => {}, 60_000);
