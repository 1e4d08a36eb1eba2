import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { BIN, ROOT } from "../../tests/runner/packages.ts";
import type { Answer, Orders, Verb } from "./protocol.ts";

/** Who is measured, and where. */
export interface Program {
  /** For messages. */
  readonly name: string;
  readonly binary: string;
  readonly args: readonly string[];
}

/** How a subject written in TypeScript is run: with a garbage collection that can be called. */
export const RUNTIMES = {
  deno: (args: readonly string[]) => ({
    binary: process.execPath,
    args: ["run", "-A", "--no-check", "--quiet", "--v8-flags=--expose-gc", ...args],
  }),
  bun: (args: readonly string[]) => ({ binary: `${BIN}/bun`, args: [...args] }),
  node: (args: readonly string[]) => ({
    binary: `${BIN}/node`,
    args: ["--expose-gc", "--disable-warning=ExperimentalWarning", ...args],
  }),
} as const;

/** One of the runtimes that Holdfast runs on. */
export type RuntimeName = keyof typeof RUNTIMES;

/** The program that runs a module of `subjects/`. */
export function script(runtime: RuntimeName, module: string, address: string, ttl: number): Program {
  const url = (name: string) => new URL(`../subjects/${name}`, import.meta.url);
  const main = fileURLToPath(url("process.ts"));
  return { name: module, ...RUNTIMES[runtime]([main, url(module).href, address, `${ttl}`]) };
}

/** What has been ordered. */
export interface Ordered<V extends Verb> {
  /** Resolves when it stands in line, at the time of this process. */
  readonly waiting: Promise<number>;
  readonly done: Promise<Orders[V]["done"]>;
}

interface Pending {
  readonly waiting: PromiseWithResolvers<number>;
  readonly done: PromiseWithResolvers<unknown>;
}

/** Milliseconds to close a subject. */
const PATIENCE = 5_000;

/** A process that is measured, seen from here. */
export class Runner implements AsyncDisposable {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #last = 0;
  /** The end of what it has written to its standard error: some peers write much. */
  #said = "";
  #ended: Error | undefined;
  /** Milliseconds to add to a time of that process for one of ours. */
  #offset = 0;

  private constructor({ name, binary, args }: Program) {
    this.#name = name;
    this.#child = spawn(binary, args, { cwd: ROOT });
    this.#child.stderr!.setEncoding("utf8").on(
      "data",
      (text) => this.#said = (this.#said + text).slice(-1_000),
    );
    this.#child.stdin!.on("error", () => {}); // "exit" tells it
    this.#child.once("exit", (code, signal) => {
      this.#ended = new Error(`A process that runs ${name} has ended: ${signal ?? code}\n${this.#said}`);
      for (const { waiting, done } of this.#pending.values()) {
        waiting.reject(this.#ended);
        done.reject(this.#ended);
      }
    });
    createInterface(this.#child.stdout!).on("line", (line) => this.#hear(JSON.parse(line)));
  }

  /** Resolves when it has opened its subject, and its clock is known. */
  static async start(program: Program): Promise<Runner> {
    const runner = new Runner(program);
    await runner.#expect(0).done.promise;
    await runner.#calibrate();
    return runner;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Gives an order; several may be under way. */
  order<V extends Verb>(verb: V, order: Orders[V]["order"]): Ordered<V> {
    const id = ++this.#last;
    const { waiting, done } = this.#expect(id);
    this.#child.stdin!.write(`${JSON.stringify({ id, do: verb, ...order })}\n`);
    const stands = waiting.promise.then((at) => this.here(at));
    stands.catch(() => {}); // `done` tells it too
    return { waiting: stands, done: done.promise as Promise<Orders[V]["done"]> };
  }

  /** Gives an order and waits until it is done. */
  async tell<V extends Verb>(verb: V, order: Orders[V]["order"]): Promise<Orders[V]["done"]> {
    return await this.order(verb, order).done;
  }

  /** A time of that process, as one of ours. */
  here(theirs: number): number {
    return theirs + this.#offset;
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#end(() => this.#child.kill("SIGKILL"));
  }

  /** Lets it close its subject. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end(() => void this.#child.stdin!.end());
  }

  async #end(how: () => void): Promise<void> {
    if (this.#ended !== undefined) return;
    const gone = once(this.#child, "exit");
    how();
    const kill = setTimeout(() => this.#child.kill("SIGKILL"), PATIENCE);
    await gone;
    clearTimeout(kill);
  }

  #expect(id: number): Pending {
    const pending = { waiting: Promise.withResolvers<number>(), done: Promise.withResolvers<unknown>() };
    for (const { promise } of [pending.waiting, pending.done]) promise.catch(() => {});
    if (this.#ended !== undefined) pending.done.reject(this.#ended);
    else this.#pending.set(id, pending);
    return pending;
  }

  #hear(answer: Answer): void {
    const pending = this.#pending.get(answer.id);
    if (pending === undefined) return;
    if ("say" in answer) return pending.waiting.resolve(answer.at);
    this.#pending.delete(answer.id);
    if ("done" in answer) {
      pending.done.resolve(answer.done);
    } else {
      const error = new Error(`${this.#name}: ${answer.failed}`);
      pending.waiting.reject(error);
      pending.done.reject(error);
    }
  }

  /** By the quickest of many questions, whose answer was on its way for half of its time. */
  async #calibrate(): Promise<void> {
    let quickest = Infinity;
    for (let question = 0; question < 101; question++) {
      const asked = performance.now();
      const theirs = await this.tell("clock", {});
      const took = performance.now() - asked;
      if (took >= quickest) continue;
      quickest = took;
      this.#offset = asked + took / 2 - theirs;
    }
  }
}
