/** Processes of a group: whether there are any, and how they are told something. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds between two looks at whether a group has ended: nothing tells of the end of another's child. */
const LOOK = 20;

/** Sends a signal to every process of the group. */
export function tell(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // There is none any more.
  }
}

/**
 * Ends every process of the group: SIGTERM, which a stopped one gets only when it is continued, and SIGKILL to those
 * that are left after so many milliseconds. Resolves when there is none.
 */
export async function end(group: number, grace: number): Promise<void> {
  tell(group, "SIGTERM");
  tell(group, "SIGCONT");
  const deadline = performance.now() + grace;
  while (lives(group) && performance.now() < deadline) await sleep(LOOK);
  while (lives(group)) {
    tell(group, "SIGKILL");
    await sleep(LOOK);
  }
}

/**
 * Whether any process of the group can still do something. One that has ended can not, but is still counted until its
 * parent has asked for its status, which nobody does where holdfast is the first process of a container.
 */
export function lives(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  const pids = processes();
  return pids === undefined || pids.some((pid) => isLiveMember(pid, group));
}

/** All processes, where the system lists them in a folder. */
function processes(): string[] | undefined {
  try {
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return pids.length > 0 ? pids : undefined;
  } catch {
    return undefined;
  }
}

function isLiveMember(pid: string, group: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, , its] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(its) === group && state !== "Z" && state !== "X";
  } catch {
    return false; // It has ended meanwhile.
  }
}
