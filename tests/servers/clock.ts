/**
 * A clock that a server runs under and a test can step: libfaketime, for Redis, ZooKeeper and Postgres (not for
 * Go programs).
 */

import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { alive } from "./children.ts";
import { binary } from "./install.ts";
import { dataFolder } from "./reaper.ts";
import { handOver } from "./user.ts";

/** Give its `env` to a launcher. */
export class ServerClock {
  /** For the launcher's option of this name. */
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;
  #offset = 0;

  private constructor(library: string, file: string) {
    this.#file = file;
    this.env = {
      // libc's malloc, before Redis's own: that one reads the clock before libfaketime is ready for it.
      LD_PRELOAD: `${library} libc.so.6`,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: "1", // a step shows at once
      FAKETIME_DONT_FAKE_MONOTONIC: "1", // as when an operator or NTP sets the clock
    };
  }

  /** A clock that is right until it is stepped. */
  static async create(): Promise<ServerClock> {
    sweep();
    const folder = dataFolder("clock");
    handOver(folder);
    const clock = new ServerClock(await binary("libfaketime.so.1"), join(folder, "offset"));
    clock.step(0);
    return clock;
  }

  /** Milliseconds it is ahead of the right time; negative: behind. */
  get offset(): number {
    return this.#offset;
  }

  /** Moves it by so many milliseconds, back if negative. */
  step(ms: number): void {
    this.#offset += ms;
    const sign = this.#offset < 0 ? "-" : "+";
    // In one step: the server reads the file whenever it looks at the clock.
    writeFileSync(`${this.#file}.new`, `${sign}${Math.abs(this.#offset) / 1_000}`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}

/**
 * Removes what libfaketime shared with the children of processes that were killed: a process of another user
 * that gets the same process id could not start.
 */
function sweep(): void {
  const folder = "/dev/shm";
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const [, pid] = /^(?:sem\.faketime_sem|faketime_shm)_(\d+)$/.exec(name) ?? [];
    if (!pid || alive(Number(pid))) continue;
    try {
      rmSync(join(folder, name), { force: true });
    } catch {
      // another user's
    }
  }
}
