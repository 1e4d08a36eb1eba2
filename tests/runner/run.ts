/** Runs one test file on one runtime, in a process of its own. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { count, type Report } from "./junit.ts";
import { BIN, ROOT } from "./packages.ts";
import { type Runtime, runtimes } from "./runtimes.ts";

/** Milliseconds after which a file that does not end is ended: a test hangs, or keeps the process alive. */
const LIMIT = 600_000;

/** What came of a run. */
export interface Result extends Report {
  readonly seconds: number;
  /** All that was printed. */
  readonly output: string;
}

/** A test file, and where to run it. */
export interface Job {
  readonly runtime: Runtime;
  readonly file: string;
  /** The only one to run on; all of the run, if it is not said. */
  readonly backend: string | undefined;
  /** Milliseconds after which it is ended, if not {@linkcode LIMIT}. */
  readonly limit?: number;
  /** See `pace.ts`. */
  readonly seat?: number;
}

/** Runs the file; `live` lets it write to the terminal itself, and `output` is empty then. */
export async function run(job: Job, live: boolean): Promise<Result> {
  const { runtime, file, backend, limit = LIMIT, seat } = job;
  const folder = mkdtempSync(join(tmpdir(), "holdfast-report-"));
  const report = join(folder, "report.xml");
  const start = performance.now();
  try {
    // A Node that finds this variable would take itself for a part of the run that set it.
    const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
    const env = {
      ...inherited,
      ...(backend !== undefined && { BACKENDS: backend }),
      ...(seat !== undefined && { HOLDFAST_SEAT: `${seat}` }),
    };
    const { code, output } = await execute(runtime, runtime.args(file, report), live, env, limit);
    const counts = count(existsSync(report) ? readFileSync(report, "utf8") : "");
    // A file that does not load or end, or a hook that throws, need not be a test in the report.
    const unreported = code !== 0 && counts.failed === 0;
    return {
      ...counts,
      ...(unreported && { failed: 1, failures: [ending(output)] }),
      seconds: Math.round((performance.now() - start) / 1_000),
      output,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function execute(
  runtime: Runtime,
  args: readonly string[],
  live: boolean,
  env: NodeJS.ProcessEnv,
  limit: number,
): Promise<{ code: number | null; output: string }> {
  const child = spawn(runtime.binary, args, {
    cwd: ROOT,
    env: { ...env, PATH: path(), ...(live ? {} : { NO_COLOR: "1" }) },
    stdio: ["ignore", live ? "inherit" : "pipe", live ? "inherit" : "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text) => output += text);
  }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      output += `\nkilled: it has not ended after ${limit / 1_000} s\n`;
      child.kill("SIGKILL");
    }, limit);
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      if (signal) output += `\nended by ${signal}\n`;
      // Not at "close": an orphan may hold the pipes open for long.
      setTimeout(() => resolve({ code, output }), 50);
    });
  });
}

/** The last lines of what was printed, without stack traces. */
function ending(output: string): string {
  return output.trimEnd().split("\n").filter((line) => !/^\s*(at .*)?$/.test(line)).slice(-12).join("\n  ");
}

/** Tests that start another runtime find the same ones by name. */
function path(): string {
  const deno = runtimes.find(({ name }) => name === "deno")!.binary;
  return [BIN, ...(deno === "deno" ? [] : [dirname(deno)]), process.env.PATH ?? ""].join(delimiter);
}
