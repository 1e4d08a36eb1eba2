import { readdirSync, readFileSync } from "node:fs";
import { childrenOf } from "../../tests/servers/children.ts";

/** Milliseconds of processor time that the processes have used so far, with their children; NaN but on Linux. */
export function usage(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + own(pid) + usage(childrenOf(pid)), 0);
}

function own(pid: number): number {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    return tasks.reduce((sum, task) => {
      const [nanoseconds] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ");
      return sum + Number(nanoseconds) / 1e6;
    }, 0);
  } catch {
    return NaN;
  }
}
