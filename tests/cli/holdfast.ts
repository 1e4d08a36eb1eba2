/** Starts the command line on the runtime of the test, with a store of its own, and hears what it says. */
import { type ChildProcess, execFileSync, spawn, type StdioOptions } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { LockManager } from "../../mod.ts";
import { sqlite } from "../../backends/sqlite.ts";
import { alive } from "../servers/children.ts";
import { until } from "../servers/process.ts";
import { script } from "../servers/script.ts";

const CLI = new URL("../../cli.ts", import.meta.url);

/** How the command line is started: `[program, arguments]`. */
export function commandLine(words: readonly string[]): [program: string, args: string[]] {
  return script(CLI, words);
}

/** A folder with a store that no other test uses; what is started in it is killed at the end. */
export class Scene implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "holdfast-cli-"));
  readonly db: string = join(this.folder, "locks.db");
  /** Other holders and waiters than the command line. */
  readonly locks: LockManager = new LockManager(sqlite(this.db));
  readonly #started: Started[] = [];

  /** The environment: colours and stores only where a test says so. */
  env(more: Readonly<Record<string, string>> = {}): Record<string, string> {
    const { NO_COLOR: _, FORCE_COLOR: __, HOLDFAST_STORE: ___, HOLDFAST_PREFIX: ____, ...inherited } =
      process.env;
    return { ...inherited as Record<string, string>, HOLDFAST_DB: this.db, TERM: "xterm", ...more };
  }

  /** Starts holdfast with these words. */
  start(words: readonly string[], env: Readonly<Record<string, string>> = {}, stdio?: StdioOptions): Started {
    return this.spawn(...commandLine(words), env, stdio);
  }

  /** Runs holdfast to its end. */
  run(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    return this.start(words, env, ["ignore", "pipe", "pipe"]).ended;
  }

  /** Starts another program. */
  spawn(
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    stdio: StdioOptions = "pipe",
  ): Started {
    // In a session of its own: whoever runs the tests at a terminal is not to be stopped with it.
    const child = spawn(program, args, { cwd: this.folder, env: this.env(env), stdio, detached: true });
    const started = new Started(child);
    this.#started.push(started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.#started) {
      if (child.exitCode === null && child.signalCode === null) process.kill(child.pid!, "SIGKILL");
    }
    await Promise.all(this.#started.map(({ ended }) => ended));
    await this.locks.close();
    // A holdfast whose terminal has gone ends by itself, and may still write there.
    await until(() => Promise.resolve(removed(this.folder)), () => `${this.folder} cannot be removed`);
  }
}

function removed(folder: string): boolean {
  try {
    rmSync(folder, { recursive: true, force: true });
    return true;
  } catch {
    return false;
  }
}

/** How a program has ended. */
export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** A program that runs. */
export class Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** All that it has written so far. */
  out = "";
  err = "";

  constructor(child: ChildProcess) {
    this.child = child;
    const hear = (stream: Readable | null, text: (more: string) => void) =>
      stream?.setEncoding("utf8").on("data", text);
    hear(child.stdout, (more) => this.out += more);
    hear(child.stderr, (more) => this.err += more);
    this.ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      // Not at "close": what is left of a command may hold the pipes for long.
      child.once("exit", async (status, signal) => {
        // What it has written is read in one of the next turns, however long each of them takes.
        for (let turn = 0; turn < 8; turn++) await sleep(10);
        resolve({ status, signal, out: this.out, err: this.err });
      });
    });
  }

  /** Not by the child's own `kill`, which on Deno does nothing after the first signal. */
  kill(signal: NodeJS.Signals): void {
    process.kill(this.child.pid!, signal);
  }

  /** Types, or writes into a pipe. */
  type(text: string): void {
    this.child.stdin!.write(text);
  }

  /** Resolves with what the pattern finds in what has been written, as soon as it does. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    let found: RegExpExecArray | null = null;
    await until(
      () => Promise.resolve((found = pattern.exec(this.out) ?? pattern.exec(this.err)) !== null),
      () => `has not said ${pattern}: ${JSON.stringify(this.out)} ${JSON.stringify(this.err)}`,
      60_000,
    );
    return found!;
  }
}

/**
 * The letter for what a process does, such as "T" if it is stopped, the number of its group, and that of the group that
 * its terminal belongs to.
 */
export function standingOf(pid: number): { state: string; group: number; foreground: number } {
  try {
    if (process.platform !== "linux") {
      const text = execFileSync("ps", ["-o", "state=,pgid=,tpgid=", "-p", `${pid}`], { encoding: "utf8" });
      const [state, group, foreground] = text.trim().split(/\s+/);
      return { state: state!.slice(0, 1), group: Number(group), foreground: Number(foreground) };
    }
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, , group, , , foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state: state!, group: Number(group), foreground: Number(foreground) };
  } catch {
    return { state: "", group: NaN, foreground: NaN };
  }
}

/** Resolves once a process cannot do anything any more. */
export function gone(pid: number): Promise<void> {
  return until(() => Promise.resolve(!alive(pid)), () => `process ${pid} still runs`, 60_000);
}

/** Resolves once a process is stopped, or is not any more. */
export function stopped(pid: number, wanted = true): Promise<void> {
  return until(
    () => Promise.resolve((standingOf(pid).state === "T") === wanted),
    () => `process ${pid} is ${standingOf(pid).state}`,
    60_000,
  );
}
