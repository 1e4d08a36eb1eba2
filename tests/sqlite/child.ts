import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Runtime, runtimes } from "../runner/runtimes.ts";

/** What a worker says; see `worker.ts`. */
export interface Said {
  readonly id?: number;
  /** Wall time in milliseconds, with fractions. */
  readonly at: number;
  readonly heard?: string;
  readonly key?: string;
  readonly held?: boolean;
  readonly aborted?: boolean;
  readonly token?: string;
  readonly reason?: string;
  readonly since?: number;
  readonly released?: boolean;
  /** Milliseconds of a core that the process has used. */
  readonly cpu?: number;
  readonly pid?: number;
  readonly holders?: number;
  readonly error?: string;
}

/** How another process is started. */
export interface ChildOptions {
  /** Default: that of this process. */
  readonly runtime?: Runtime;
  /** What runs, of this folder. Default: `worker.ts` itself. */
  readonly script?: "worker" | "cluster_primary" | "thread_host";
  /** Milliseconds; see the manager's option. */
  readonly retryFor?: number;
  /** How many it may have open. */
  readonly descriptors?: number;
}

/** Another process over the same lock file. */
export class Child implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #answers = new Map<number, (said: Said) => void>();
  readonly #heard: Said[] = [];
  readonly #listeners = new Set<() => void>();
  readonly ended: Promise<number | null>;
  readonly #over: Promise<never>;
  #calls = 0;
  #pid = 0;

  private constructor(
    path: string,
    { runtime = own(), script = "worker", descriptors, retryFor }: ChildOptions,
  ) {
    const words = command(script, path, runtime);
    if (retryFor !== undefined) words.push(`${retryFor}`);
    if (descriptors !== undefined) words.unshift("sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh");
    this.#process = spawn(words[0]!, words.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
    this.#process.stdin!.on("error", () => {});
    this.ended = new Promise((resolve) => this.#process.on("close", resolve));
    this.#over = this.ended.then((code) => {
      throw new Error(`The process has ended with ${this.#process.signalCode ?? `status ${code}`}`);
    });
    this.#over.catch(() => {});
    createInterface({ input: this.#process.stdout! }).on("line", (line) => this.#hear(JSON.parse(line)));
  }

  /** Resolves once it listens. */
  static async start(path: string, options: ChildOptions = {}): Promise<Child> {
    const child = new Child(path, options);
    child.#pid = (await child.hears("ready")).pid!;
    return child;
  }

  /** One in each runtime. */
  static all(path: string): Promise<Child[]> {
    return Promise.all(runtimes.map((runtime) => Child.start(path, { runtime })));
  }

  /** Of the process that does as it is told; with `cluster_primary.ts` that is the worker. */
  get pid(): number {
    return this.#pid;
  }

  /** Has it do something. That it may end instead is nobody's concern who does not look at the answer. */
  does(act: string, key = "k", options: object = {}): Promise<Said> {
    const answer = this.#does(act, key, options);
    answer.catch(() => {});
    return answer;
  }

  async #does(act: string, key: string, options: object): Promise<Said> {
    const id = ++this.#calls;
    const answer = new Promise<Said>((resolve) => this.#answers.set(id, resolve));
    this.#process.stdin!.write(`${JSON.stringify({ id, act, key, options })}\n`);
    const said = await Promise.race([answer, this.#over]);
    if (said.error !== undefined) throw new Error(said.error);
    return said;
  }

  /** The first thing of a kind that it has heard, or will, and that nobody has asked for yet. */
  async hears(what: string): Promise<Said> {
    for (;;) {
      const index = this.#heard.findIndex(({ heard }) => heard === what);
      if (index >= 0) return this.#heard.splice(index, 1)[0]!;
      await new Promise<void>((resolve) => this.#listeners.add(resolve));
    }
  }

  /** Tells it nothing more, so that it ends unless it has something to do. */
  leave(): void {
    this.#process.stdin!.end();
  }

  signal(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    // Not the child's own `kill`: on Deno that does nothing the second time.
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      process.kill(this.#process.pid!, signal);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    try {
      // A worker that has survived its primary.
      if (this.#pid !== this.#process.pid) process.kill(this.#pid, "SIGKILL");
    } catch {
      // It has not.
    }
    await this.ended;
  }

  #hear(said: Said): void {
    if (said.id !== undefined) return this.#answers.get(said.id)!(said);
    this.#heard.push(said);
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }
}

/** How a script of this folder is run. */
export function command(script: string, path: string, { name, binary }: Runtime = own()): string[] {
  const file = fileURLToPath(new URL(`./${script}.ts`, import.meta.url));
  return [binary, ...(name === "deno" ? ["run", "-A", "--no-check", "--quiet"] : []), file, path];
}

/** The runtime of this process. */
export function own(): Runtime {
  const name = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";
  return runtimes.find((runtime) => runtime.name === name)!;
}
