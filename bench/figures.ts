import { measure } from "mitata";

/** One line of the report: a ratio or a rate, and the bound it is held to. */
export interface Figure {
  /** What was measured, against what. */
  readonly what: string;
  /** The figure. */
  readonly value: number;
  /** "x" is a ratio. */
  readonly unit: "x" | "ms" | "/s" | "%" | "calls";
  /** The bound: at most, or at least, this. */
  readonly bound?: { readonly most: number } | { readonly least: number };
}

/** A subject of a benchmark: one round of whatever is timed. */
export type Round = () => Promise<unknown> | unknown;

/** Median of the numbers. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** Milliseconds of one round: the median, as mitata measures it. */
export async function typical(round: Round): Promise<number> {
  // Compiled by then, as in a process that has run for a second.
  for (let warm = 0; warm < 100; warm++) await round();
  const { p50 } = await measure(round, { min_cpu_time: 1e9 });
  return p50 / 1e6;
}

/**
 * How many times as long `ours` takes as `floor`: each run many times in turns, so that a machine that
 * is busy for a while is busy for both; the ratio of the medians. Who is first is a matter of chance: in a
 * fixed order it can always be the same one for which the store begins a new page of its log.
 */
export async function ratio(ours: Round, floor: Round, rounds = 600): Promise<number> {
  const times = { ours: [] as number[], floor: [] as number[] };
  const turns = [["ours", ours], ["floor", floor]] as const;
  for (let round = -50; round < rounds; round++) {
    for (const [name, run] of Math.random() < 0.5 ? turns : turns.toReversed()) {
      const started = performance.now();
      await run();
      if (round >= 0) times[name].push(performance.now() - started);
    }
  }
  return median(times.ours) / median(times.floor);
}

/** Whether the bound is kept. */
export function holds({ value, bound }: Figure): boolean {
  if (bound === undefined) return true;
  return "most" in bound ? value <= bound.most : value >= bound.least;
}

/** The figure as a line of text. */
export function line(figure: Figure): string {
  const { what, value, unit, bound } = figure;
  const digits = value >= 1_000 ? value.toFixed(0) : value.toPrecision(3);
  const limit = bound === undefined ? "" : "most" in bound ? `<= ${bound.most}` : `>= ${bound.least}`;
  return `${holds(figure) ? " " : "!"} ${what.padEnd(78)} ${digits.padStart(9)} ${unit.padEnd(5)} ${limit}`;
}
