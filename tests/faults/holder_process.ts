import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Address } from "./address.ts";
import type { Dated, Report } from "./report.ts";
import type { Runtime } from "../runner/runtimes.ts";

/** What to hold, and where. */
export interface Task {
  readonly runtime: Runtime;
  readonly address: Address;
  readonly key: string;
  /** Milliseconds. */
  readonly ttl: number;
  /** Path of the ledger. */
  readonly ledger: string;
}

/** A holder, seen from the director. */
export class HolderProcess implements AsyncDisposable {
  /** All it has said, in order. */
  readonly said: Dated[] = [];
  readonly #child: ChildProcess;
  readonly #news = new EventEmitter();
  #errors = "";

  constructor({ runtime, address, key, ttl, ledger }: Task) {
    const args = runtime.name === "deno" ? ["run", "-A", "--no-check", "--quiet"] : [];
    const file = fileURLToPath(new URL("./holder.ts", import.meta.url));
    this.#child = spawn(runtime.binary, [...args, file, JSON.stringify(address), key, `${ttl}`, ledger], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child.stdin!.on("error", () => {});
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => this.#errors += text);
    let rest = "";
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#hear(JSON.parse(line));
    });
    this.#child.on("close", () => this.#news.emit("end"));
  }

  /** The last moment at which it could believe to hold: told by its latest deadline, or by its loss. */
  get believedUntil(): number {
    const ends = this.said.flatMap((report) => "remaining" in report ? [report.at + report.remaining] : []);
    const lost = this.said.find(({ event }) => event === "lost");
    return Math.min(ends.at(-1) ?? Infinity, lost?.at ?? Infinity);
  }

  /** The first report of a kind, also one that was made before; rejects if the process ends first. */
  async hear<E extends Report["event"]>(event: E): Promise<Dated & { event: E }> {
    for (;;) {
      const found = this.said.find((report) => report.event === event);
      if (found !== undefined) return found as Dated & { event: E };
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(`The holder ended before it was "${event}": ${this.#errors || "it said nothing"}`);
      }
      await Promise.race([once(this.#news, "report"), once(this.#news, "end")]);
    }
  }

  /** One line on its standard input. */
  order(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** By its process id, for a child that has had a signal is not always sent another. */
  send(signal: NodeJS.Signals): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      process.kill(this.#child.pid!, signal);
    }
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#news, "end");
    this.send("SIGKILL");
    await ended;
  }

  #hear(report: Dated): void {
    this.said.push(report);
    this.#news.emit("report");
  }
}
