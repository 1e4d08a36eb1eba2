/** How many test files run at once: as many as the machine has time for. */
import { availableParallelism, cpus } from "node:os";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

/** At once for each processor, however busy: much of a test is waiting, and more would not end sooner. */
const LEAST = 3;
/** And at most, however idle: a start takes more than what follows, and all are about time. */
const MOST = 5;
/** The part of its time that a machine which can do more has spent on nothing. */
const IDLE = 0.15;
/** Milliseconds over which that is measured. */
const LOOK = 400;

/**
 * Runs them all, started in their order; with `JOBS` in the environment, as many at once as it says. Each has a
 * seat, a number from 0 on, that no other has at the same time.
 */
export async function runAll<Job>(
  jobs: readonly Job[],
  run: (job: Job, seat: number) => Promise<void>,
): Promise<void> {
  const said = Number(process.env.JOBS);
  const least = said || LEAST * availableParallelism();
  const most = said || MOST * availableParallelism();
  const running = new Set<Promise<void>>();
  const seats = Array.from({ length: most }, (_, seat) => seat);
  for (const job of jobs) {
    while (running.size >= most) await Promise.race(running);
    while (running.size >= least && running.size < most && await idle() < IDLE);
    const seat = seats.shift()!;
    const one = run(job, seat).finally(() => {
      running.delete(one);
      seats.unshift(seat);
    });
    running.add(one);
  }
  await Promise.all(running);
}

/** The part of its time that the machine spends on nothing. */
async function idle(): Promise<number> {
  const before = spent();
  await sleep(LOOK);
  const after = spent();
  return (after.idle - before.idle) / Math.max(1, after.all - before.all);
}

/** Milliseconds of all processors together. */
function spent(): { idle: number; all: number } {
  const times = cpus().map((cpu) => cpu.times);
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  return {
    idle: sum(times.map((each) => each.idle)),
    all: sum(times.flatMap((each) => Object.values(each))),
  };
}
