import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { BIN } from "../../tests/runner/packages.ts";
import { median } from "../figures.ts";

/** What is passed, and where: a module of this folder and an argument of its own. */
export interface Course {
  readonly module: string;
  readonly address: unknown;
  /** The one who has it need not have waited for it: a bare signal. */
  readonly bare?: boolean;
}

/** Milliseconds between two rounds, the same for all: an idle moment costs a sleeping machine its wake-up. */
const PACE = 10;

/**
 * Milliseconds from one process's letting go to the other's having it: the median over rounds to and
 * fro, the courses in turns, so that a machine that is busy for a while is busy for all.
 */
export async function handover(courses: readonly Course[], rounds = 150): Promise<number[]> {
  const pairs = await Promise.all(courses.map(async (course) => {
    const pair = [new Runner(course), new Runner(course)] as const;
    await Promise.all(pair.map((runner) => runner.hear("ready")));
    if (!course.bare) {
      pair[0].order("wait");
      await pair[0].hear("got");
    }
    return { pair, times: [] as number[] };
  }));
  for (let round = -10; round < rounds; round++) {
    for (const { pair, times } of pairs) {
      const [from, to] = round % 2 === 0 ? pair : [pair[1], pair[0]];
      to.order("wait");
      await to.hear("waiting");
      await sleep(PACE);
      from.order("pass");
      const [passing, got] = await Promise.all([from.hear("passing"), to.hear("got"), from.hear("passed")]);
      if (round >= 0) times.push(Number(got - passing) / 1e6);
    }
  }
  for (const { pair } of pairs) for (const runner of pair) await runner.end();
  return pairs.map(({ times }) => median(times));
}

/** A process, seen from here. */
class Runner {
  readonly #child: ChildProcess;
  readonly #ended: Promise<never>;
  readonly #heard = new Map<string, ((at: bigint) => void)[]>();
  readonly #early = new Map<string, bigint[]>();

  constructor({ module, address }: Course) {
    const child = fileURLToPath(new URL("./child.ts", import.meta.url));
    const subject = new URL(`./${module}.ts`, import.meta.url).href;
    this.#child = spawn(`${BIN}/node`, [
      "--disable-warning=ExperimentalWarning",
      child,
      subject,
      JSON.stringify(address),
    ], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#ended = once(this.#child, "exit").then(() => {
      throw new Error(`A process that passed on ${module} has ended`);
    });
    this.#ended.catch(() => {});
    createInterface(this.#child.stdout!).on("line", (line) => {
      const [word, at] = line.split(" ") as [string, string];
      const waiting = this.#heard.get(word)?.shift();
      if (waiting !== undefined) waiting(BigInt(at));
      else this.#early.set(word, [...this.#early.get(word) ?? [], BigInt(at)]);
    });
  }

  order(word: string): void {
    this.#child.stdin!.write(`${word}\n`);
  }

  /** When it says, or has said, the word; nanoseconds. */
  hear(word: string): Promise<bigint> {
    const early = this.#early.get(word)?.shift();
    if (early !== undefined) return Promise.resolve(early);
    const said = new Promise<bigint>((resolve) =>
      this.#heard.set(word, [...this.#heard.get(word) ?? [], resolve])
    );
    return Promise.race([said, this.#ended]);
  }

  async end(): Promise<void> {
    const gone = once(this.#child, "exit");
    this.#child.stdin!.end();
    await gone;
  }
}
