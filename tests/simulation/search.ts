import { type Report, run } from "./run.ts";
import { schedule } from "./schedule.ts";

/** What many runs have come to. */
export interface Summary {
  schedules: number;
  /** The first seed that failed. */
  failed: number | undefined;
  promise: string | undefined;
  /** Virtual milliseconds, and things that happened. */
  time: number;
  count: number;
  writes: { accepted: number; refused: number };
  readonly tally: Map<string, number>;
}

/** Runs seeds from `first` on, until one fails, `count` have been run, or `ms` have passed. */
export async function search(first: number, count: number, ms: number = Infinity): Promise<Summary> {
  const end = performance.now() + ms;
  const summary: Summary = {
    schedules: 0,
    failed: undefined,
    promise: undefined,
    time: 0,
    count: 0,
    writes: { accepted: 0, refused: 0 },
    tally: new Map(),
  };
  for (let seed = first; seed < first + count && performance.now() < end; seed++) {
    const report = await run(schedule(seed));
    add(summary, report);
    if (report.failure === undefined) continue;
    summary.failed = seed;
    summary.promise = report.failure.promise;
    break;
  }
  return summary;
}

function add(summary: Summary, { time, count, writes, tally }: Report): void {
  summary.schedules++;
  summary.time += time;
  summary.count += count;
  summary.writes.accepted += writes.accepted;
  summary.writes.refused += writes.refused;
  for (const [end, times] of tally) summary.tally.set(end, (summary.tally.get(end) ?? 0) + times);
}
