/** What all launchers share: a child process that is ready when it says so, and free ports. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { alive, childrenOf, signalAll } from "./children.ts";
import { adopt } from "./reaper.ts";

/** The address all test servers listen on. */
export const HOST = "127.0.0.1";

/** A program to run as a server. */
export interface Program {
  /** For messages. */
  readonly name: string;
  /** Path of the binary. */
  readonly binary: string;
  readonly args: readonly string[];
  /** Added to the environment, for instance to run under another clock. */
  readonly env?: Readonly<Record<string, string>>;
  /** A `dataFolder()`, removed with the server; the log goes there too. */
  readonly folder: string;
  /** Whether it serves; asked again until it does. A throw means not yet. */
  ready(): Promise<boolean>;
  /** Whether its work is done by child processes, which then share its pauses and its end. */
  readonly forks?: boolean;
  /** Milliseconds to become ready. Default 120 000: a Java machine on a busy one takes that long. */
  readonly patience?: number;
}

/** Milliseconds, longer than a test may take. */
const WAITING = 180_000;

/** A server that can be killed, stopped in its tracks, and started again on the same port and data. */
export class ServerProcess implements AsyncDisposable {
  readonly #program: Program;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  private constructor(program: Program) {
    this.#program = program;
  }

  /** Resolves once the server is ready. */
  static async start(program: Program): Promise<ServerProcess> {
    const server = ServerProcess.launch(program);
    await server.ready();
    return server;
  }

  /** Starts without waiting, for servers that become ready only together. */
  static launch(program: Program): ServerProcess {
    const server = new ServerProcess(program);
    server.#launch();
    return server;
  }

  /** Whether the process is there (paused counts). */
  get running(): boolean {
    return this.#child !== undefined;
  }

  /** `undefined` while it is not running. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** The last lines it wrote. */
  log(lines = 30): string {
    try {
      return readFileSync(this.#logFile, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
    } catch {
      return "(no output)";
    }
  }

  /** Waits until the server serves; rejects with the end of its log if it ends or takes too long. */
  async ready(): Promise<void> {
    const { name, patience = 120_000 } = this.#program;
    await until(
      async () => {
        if (!this.#child) {
          await this.#ended;
          throw new Error(`${name} ended while it was starting:\n${this.log()}`);
        }
        return await this.#program.ready().catch(() => false);
      },
      () => `${name} is not ready after ${patience} ms:\n${this.log()}`,
      patience,
    ).catch(async (error) => {
      await this.kill();
      throw error;
    });
  }

  /** Sends the signal and waits until the process is gone. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#child?.ref();
    if (signal !== "SIGKILL") this.resume(); // a stopped process would act on it only when continued
    else if (this.#program.forks) this.#signal("SIGSTOP"); // no further children: those below are all
    const children = signal === "SIGKILL" ? this.#children : []; // other signals are passed on by the server
    this.#signal(signal);
    signalAll(children, signal);
    await this.#ended.catch(() => {}); // could not be started: said by `ready`
    await until(
      () => Promise.resolve(!children.some(alive)),
      () => `child processes of ${this.#program.name} do not end`,
    );
  }

  /** SIGSTOP: the connections stay open, nothing answers. */
  pause(): void {
    this.#signal("SIGSTOP");
    signalAll(this.#children, "SIGSTOP");
  }

  /** SIGCONT. */
  resume(): void {
    signalAll(this.#children, "SIGCONT");
    this.#signal("SIGCONT");
  }

  /** Ends it if it runs, and starts it again with the same port and data. */
  async restart(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.kill(signal);
    this.#launch();
    await this.ready();
  }

  /** Kills it and removes its data. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#program.folder, { recursive: true, force: true });
  }

  get #logFile(): string {
    return join(this.#program.folder, "server.log");
  }

  get #children(): number[] {
    return this.#program.forks && this.pid !== undefined ? childrenOf(this.pid) : [];
  }

  /** Not by the child's own `kill`, which on Deno does nothing after the first signal, whatever that was. */
  #signal(signal: NodeJS.Signals): void {
    if (this.#child?.pid !== undefined) process.kill(this.#child.pid, signal);
  }

  #launch(): void {
    const { name, binary, args, env, folder } = this.#program;
    // A file rather than a pipe: nobody has to drain it, and it keeps no event loop alive.
    const log = openSync(this.#logFile, "a");
    const child = spawn(binary, args, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    this.#child = child;
    this.#ended = new Promise((resolve, reject) => {
      child.once("error", (cause) => {
        this.#child = undefined;
        reject(new Error(`Cannot start ${name} (${binary}): ${cause.message}`, { cause }));
      });
      child.once("exit", () => {
        this.#child = undefined;
        resolve();
      });
    });
    this.#ended.catch(() => {});
    if (child.pid === undefined) return; // it could not be started; Deno cannot unref it either
    adopt(child);
    child.unref(); // a server that a test forgot must not keep the test process alive
    // No backend does so either, and a test that waits for what the server does would end without an outcome.
    const waiting = setTimeout(() => {}, WAITING);
    child.once("exit", () => clearTimeout(waiting));
  }
}

/** Asks until the answer is true, every 20 ms. */
export async function until(
  condition: () => Promise<boolean>,
  complaint: () => string,
  patience = 120_000,
): Promise<void> {
  const deadline = performance.now() + patience;
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(complaint());
    await sleep(20);
  }
}

/** Ports for the processes that test at the same time: by their seats, each draws from a slice of its own. */
const SLICE = 500;
const FIRST = 11_000 + Number(process.env.HOLDFAST_SEAT ?? process.pid) % 20 * SLICE;

const given = new Set<number>();

/**
 * A port nobody listens on, below the ranges that systems take outgoing connections from: a server
 * that restarts finds its port still free. With `bus`, the port 10 000 above is free as well.
 */
export async function freePort(bus = false): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * SLICE);
    if (given.has(port)) continue;
    given.add(port);
    if (given.size === SLICE) given.clear(); // those of the first servers are free again
    if (await isFree(port) && (!bus || await isFree(port + 10_000))) return port;
  }
}

/** Several of {@linkcode freePort}. */
export async function freePorts(count: number, bus = false): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort(bus));
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, HOST, () => probe.close(() => resolve(true)));
  });
}

/** Runs a program to its end and returns what it printed; rejects with what it complained of. */
export function run(
  binary: string,
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string; timeout?: number } = {},
): Promise<string> {
  const { env, cwd, timeout = 60_000 } = options;
  return new Promise((resolve, reject) => {
    execFile(
      binary,
      [...args],
      { env: { ...process.env, ...env }, cwd, timeout, maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        reject(
          new Error(`${binary} ${args.join(" ")}: ${stderr || stdout || error.message}`, { cause: error }),
        );
      },
    );
  });
}
