/** A recipe of `examples/`, run as its reader would: by itself, in a process and a folder of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { ROOT } from "../runner/packages.ts";
import { adopt } from "../servers/reaper.ts";
import { script } from "../servers/script.ts";

const FOLDER = `${ROOT}/examples`;

/** The names of the files of a kind in `examples/`, without their ending. */
export function recipes(ending = ".ts"): string[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(ending))
    .map((name) => name.slice(0, -ending.length))
    .sort();
}

/** The text of a file of `examples/`. */
export function text(file: string): string {
  return readFileSync(`${FOLDER}/${file}`, "utf8");
}

/** What a recipe says that it prints when it is run alone: the comment at its end. */
export function promised(name: string): string[] {
  const [, comment] = text(`${name}.ts`).split("\n// Prints:\n");
  if (comment === undefined) {
    throw new Error(`examples/${name}.ts does not end with "// Prints:" and its output`);
  }
  return comment.trimEnd().split("\n").map((line) => line.replace(/^\/\/ ?/, ""));
}

/** How a recipe is started. */
export interface Setting {
  /** Where it runs, and what instances of it share. */
  readonly folder: string;
  readonly args?: readonly string[];
  /** Added to the environment, which names no store otherwise. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a recipe on the runtime of this process. */
export function start(name: string, { args, ...setting }: Setting): Instance {
  const [binary, words] = script(pathToFileURL(`${FOLDER}/${name}.ts`), args);
  return new Instance([binary, ...words], setting);
}

/** One running instance of a recipe. */
export class Instance implements AsyncDisposable {
  /** What it has printed so far. */
  readonly lines: string[] = [];
  /** Resolves with its exit status, or with the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly #child: ChildProcess;
  readonly #listeners = new Set<() => void>();
  #over = false;

  /** Starts a program, which stands for the first word, with the others. */
  constructor(command: readonly string[], { folder, env = {} }: Omit<Setting, "args">) {
    const { HOLDFAST_STORE: _, ...inherited } = process.env;
    this.#child = spawn(command[0]!, command.slice(1), {
      cwd: folder,
      env: { ...inherited, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    adopt(this.#child);
    this.ended = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => {
        this.#over = true;
        this.#tell();
        resolve(code ?? signal!);
      });
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      this.lines.push(line);
      this.#tell();
    });
  }

  /** As its log files name it. */
  get pid(): number {
    return this.#child.pid!;
  }

  /** Resolves once it has printed such a line, with the first one; rejects if it ends without. */
  async prints(wanted: RegExp): Promise<string> {
    for (;;) {
      const line = this.lines.find((line) => wanted.test(line));
      if (line !== undefined) return line;
      if (this.#over) {
        throw new Error(`It has ended without printing ${wanted}: ${JSON.stringify(this.lines)}`);
      }
      await new Promise<void>((resolve) => this.#listeners.add(resolve));
    }
  }

  /** By the process id: on Deno the child's own `kill` does nothing the second time. */
  signal(signal: NodeJS.Signals): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) process.kill(this.pid, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.ended;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }
}
