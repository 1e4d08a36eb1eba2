/** The terminal that this process belongs to. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import process from "node:process";
import { isatty } from "node:tty";

/** How this process stands to its terminal. */
export interface Standing {
  /** The number of its process group. */
  readonly group: number;
  /** Whether the terminal is its group's. */
  readonly foreground: boolean;
  /**
   * Whether a shell may look after it: one with job control waits until it stops, and can continue it. The leader of a
   * session has no such shell, nor has the first process of a container.
   */
  readonly job: boolean;
}

/** As of now: a shell may give its jobs the terminal, or take it. */
export function standing(): Standing {
  const { group, session, foreground } = fields();
  return {
    group,
    foreground: group === foreground,
    job: hasTerminal() && session !== process.pid && group > 1,
  };
}

/** The number of the process group that the terminal belongs to. */
export function owner(): number {
  return fields().foreground;
}

/** Whether there is a terminal, whatever the input and the output are. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether a command can be given the terminal. Not if this process is in the background, nor if the input or the
 * output is another program's: that is in the same job, and might need the terminal too.
 */
export function canLend(): boolean {
  return isatty(0) && isatty(1) && hasTerminal() && standing().foreground;
}

/**
 * Whether the input is this process's to read. In the background the keys are another job's: the kernel would stop who
 * reads them, were it a job of the same session, as a command that leads its own is not.
 */
export function mayRead(): boolean {
  return !isatty(0) || !hasTerminal() || standing().foreground;
}

/** The numbers of the own process group and session, and of the group that the terminal belongs to. */
function fields(): { group: number; session: number; foreground: number } {
  try {
    const stat = readFileSync(`/proc/${process.pid}/stat`, "utf8");
    const [, , group, session, , foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
    return { group: group!, session: session!, foreground: foreground! };
  } catch {
    // Not Linux; what `ps` says of sessions differs between systems.
    const args = ["-o", "pgid=,tpgid=", "-p", `${process.pid}`];
    const { stdout } = spawnSync("ps", args, { encoding: "utf8" });
    const [group, foreground] = (stdout ?? "").trim().split(/\s+/).map(Number);
    return { group: group!, session: NaN, foreground: foreground! };
  }
}
