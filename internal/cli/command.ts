/** A command in a process group of its own, which ends when holdfast does. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import type { Duplex, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { end, lives, tell } from "./group.ts";
import { GATE, JOB, WATCHDOG } from "./scripts.ts";
import { STATUS, statusOf } from "./status.ts";
import { canLend, mayRead, owner, standing } from "./terminal.ts";

/** What some shells hand on: variables of another name are not for them. */
const NAME = /^[A-Za-z_]\w*$/;

/** How often is looked whether the command has got the terminal: for a second at most. */
const LOOKS = 500;

/** What is started, and how it is ended. */
export interface Start {
  /** The program and its arguments. */
  readonly words: readonly string[];
  /** Added to the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds from SIGTERM to SIGKILL. */
  readonly grace: number;
  /** Milliseconds for which it may run before a beat. */
  readonly lasts: number;
  /** Is told what does not keep it from being started. */
  readonly warn: (message: string) => void;
}

/**
 * A command that runs. At a terminal it is a job of the session, to which the terminal is lent: `/dev/tty`, Ctrl-C and
 * Ctrl-Z are as in the shell. Otherwise it leads a session of its own, which is the one way that the runtimes offer
 * to a process group of its own.
 *
 * A watchdog ends the group when this process is killed, or does not say in time that it may go on.
 */
export class Command {
  /** The number of its process group. */
  readonly group: number;
  /** Resolves with its status as soon as it has ended. Others of its group may still run. */
  readonly ended: Promise<number>;
  readonly #grace: number;
  /** There is none where there is no shell. */
  readonly #watchdog: Writable | undefined;
  /** Speaks with the shell that has lent it the terminal. */
  readonly #shell: Duplex | undefined;
  #closed: Promise<void> | undefined;
  #stopped = false;
  #place: "fg" | "bg" = "fg";

  private constructor(group: number, start: Start, ended: Promise<number>, shell?: Duplex) {
    this.group = group;
    this.ended = ended;
    this.#grace = start.grace;
    this.#watchdog = watch(group, start);
    this.#shell = shell;
    shell?.on("data", (line: string) => this.#heard(line));
  }

  /** Starts it. Rejects with the {@linkcode Unstarted} that says why it cannot be. */
  static async start(start: Start): Promise<Command> {
    return canLend() && await Command.#lend(start) || await Command.#lead(start);
  }

  /** As the leader of a session. It begins once it is watched, where a shell can see to that. */
  static async #lead(start: Start): Promise<Command> {
    const env = { ...process.env, ...start.env };
    const input = mayRead() ? "inherit" : "ignore";
    const gated = Object.keys(env).every((name) => NAME.test(name)) && Command.#gate(start, env, input);
    if (gated) return gated;
    const [program, ...args] = start.words;
    const child = spawn(program!, args, { env, stdio: [input, "inherit", "inherit"], detached: true });
    const ended = endOf(child);
    if (child.pid === undefined) throw await ended.then(() => undefined, (error) => error);
    return new Command(child.pid, start, ended);
  }

  /** The same behind a gate; `undefined` if there is no shell. */
  static #gate(start: Start, env: NodeJS.ProcessEnv, input: "inherit" | "ignore"): Command | undefined {
    const child = spawn("sh", ["-c", GATE, "holdfast", ...start.words], {
      env,
      stdio: [input, "inherit", "inherit", "pipe"],
      detached: true,
    });
    const ended = endOf(child);
    if (child.pid === undefined) return undefined;
    const command = new Command(child.pid, start, ended);
    quiet(child.stdio[3] as Duplex).end("go\n");
    return command;
  }

  /** As a job of this session; `undefined` if there is no shell that could do it. */
  static async #lend(start: Start): Promise<Command | undefined> {
    const child = spawn("sh", ["-c", JOB, "holdfast", ...start.words], {
      env: { ...process.env, ...start.env },
      stdio: ["inherit", "inherit", "inherit", "pipe"],
    });
    const ended = endOf(child);
    if (child.pid === undefined) return undefined;
    const shell = quiet(child.stdio[3] as Duplex);
    shell.setEncoding("utf8");
    const group = await new Promise<number>((resolve, reject) => {
      shell.once("data", (line) => resolve(Number(line)));
      const end = (status: number) =>
        reject(new Unstarted("sh", `ended with status ${status}`, STATUS.failed));
      void ended.then(end);
    });
    if (!(group > 1)) throw new Unstarted("sh", "it has not said the number of a job", STATUS.failed);
    const command = new Command(group, start, ended, shell);
    // A key that is pressed before is nobody's.
    for (let looks = 0; owner() !== group && looks < LOOKS; looks++) await sleep(2);
    shell.write("go\n");
    return command;
  }

  /** Whether any process of its group can still do something. */
  get lives(): boolean {
    return lives(this.group);
  }

  /** It may run for so many milliseconds more: the watchdog waits so long. */
  beat(ms: number): void {
    this.#watchdog?.write(`${ms / 1_000}\n`);
  }

  /**
   * Passes a signal on. SIGTSTP stops this process too where a shell may look after it, so that the shell goes on: at
   * once, or when the command has stopped. The leader of a session gets SIGSTOP instead: the kernel stops nobody by
   * SIGTSTP whom no shell of the same session could continue.
   */
  pass(signal: NodeJS.Signals): void {
    if (signal === "SIGTSTP") {
      if (!this.#stopped) tell(this.group, this.#shell === undefined ? "SIGSTOP" : "SIGTSTP");
      if (this.#shell === undefined ? standing().job : this.#stopped) process.kill(process.pid, "SIGSTOP");
    } else if (signal === "SIGCONT" && this.#stopped) this.#continue(standing().foreground ? "fg" : "bg");
    else tell(this.group, signal);
  }

  /** Ends every process of its group: SIGTERM, after the grace SIGKILL. Resolves when there is none. */
  async end(): Promise<void> {
    // Should this process be killed or stopped while it does so, the watchdog takes over.
    this.beat(this.#grace + 1_000);
    // Its shell waits to be told where to go on, and would not notice the end of the command before.
    if (this.#stopped) this.#shell?.destroy();
    await end(this.group, this.#grace);
  }

  /** There is no process of its group any more: the watchdog has nothing to do. Resolves once it has been told. */
  close(): Promise<void> {
    this.#shell?.destroy();
    return this.#closed ??= dismiss(this.#watchdog);
  }

  /** The shell says that the command has been stopped, and by which signal. */
  #heard(line: string): void {
    const [, status] = /^stopped (\d+)$/m.exec(line) ?? [];
    if (status === undefined) return;
    const { group, foreground, job } = standing();
    // In the background it has asked for the terminal, which has been given to us meanwhile.
    if (!job || this.#place === "bg" && foreground) return this.#continue("fg");
    this.#stopped = true;
    // The whole job stops, as by a key: the shell that has started it waits for all of it.
    process.kill(-group, "SIGTSTP");
  }

  #continue(place: "fg" | "bg"): void {
    this.#stopped = false;
    this.#place = place;
    this.#shell!.write(`${place}\n`);
  }
}

/** A command that could not be started. */
export class Unstarted extends Error {
  /** The exit status for it, as in shells. */
  readonly status: number;

  /** With the program, and why. */
  constructor(program: string, why: string, status: number, options?: ErrorOptions) {
    super(`Cannot start ${JSON.stringify(program)}: ${why}`, options);
    this.status = status;
  }
}

/** The status of a child, once it has ended. */
function endOf(child: ChildProcess): Promise<number> {
  const ended = new Promise<number>((resolve, reject) => {
    child.once("exit", (code, signal) => resolve(signal === null ? code! : statusOf(signal)));
    child.once("error", (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === "ENOENT";
      const why = missing
        ? "there is no such program"
        : cause.code === "EACCES"
        ? "it is not executable"
        : cause.message;
      const status = missing ? STATUS.notFound : STATUS.notExecutable;
      reject(new Unstarted(child.spawnfile, why, status, { cause }));
    });
  });
  // Who has learnt at once that it could not be started need not wait for the reason.
  ended.catch(() => {});
  return ended;
}

/**
 * Starts the watchdog of a group, if there is a shell; what it is to be told goes into its input. It is told the most
 * important in its arguments, since a write may be put off.
 */
function watch(group: number, { grace, lasts, warn }: Start): Writable | undefined {
  const args = [grace / 1_000, group, lasts / 1_000].map(String);
  const child = spawn("sh", ["-c", WATCHDOG, "holdfast", ...args], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  child.once(
    "error",
    () => warn("there is no sh: should holdfast be killed, the command would go on without the lock"),
  );
  if (child.pid === undefined) return undefined;
  child.unref();
  return quiet(child.stdin);
}

/** Tells the watchdog, if there is one yet, that there is nothing to watch. */
function dismiss(watchdog: Writable | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (watchdog === undefined || watchdog.destroyed) return resolve();
    watchdog.once("close", resolve);
    watchdog.end("over\n");
  });
}

/** A stream whose other end may be gone. */
function quiet<S extends Writable>(stream: S): S {
  stream.on("error", () => {});
  return stream;
}
