/** What becomes of many measurements. */

/** A distribution, as the report keeps it. */
export interface Distribution {
  /** How many measurements. */
  readonly count: number;
  /** The median, and what 99 and 99.9 of a hundred do not exceed. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** The least and the greatest median of a turn: how much of it is the machine. */
  readonly spread: readonly [least: number, greatest: number];
  /** The quantiles 0 to 100 in steps of one, for pictures. */
  readonly curve: readonly number[];
}

/** The value that a part of the sorted numbers does not exceed. */
export function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}

/** The median of numbers in any order. */
export function median(numbers: readonly number[]): number {
  return quantile(numbers.toSorted((a, b) => a - b), 0.5);
}

/** Of what was measured in several turns. */
export function distribution(turns: readonly (readonly number[])[]): Distribution {
  const sorted = turns.flat().sort((a, b) => a - b);
  const medians = turns.filter((turn) => turn.length > 0).map(median).sort((a, b) => a - b);
  return {
    count: sorted.length,
    p50: round(quantile(sorted, 0.5)),
    p99: round(quantile(sorted, 0.99)),
    p999: round(quantile(sorted, 0.999)),
    spread: [round(medians[0]!), round(medians.at(-1)!)],
    curve: Array.from({ length: 101 }, (_, percent) => round(quantile(sorted, percent / 100))),
  };
}

/** Four digits: what is beyond is noise. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}
