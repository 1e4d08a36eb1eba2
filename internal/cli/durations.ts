/** Times, as they are typed and shown. */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** What a duration looks like, for messages. */
export const DURATIONS = "a number and a unit, such as 500ms, 10s, 5m, 1h or 1d";

/** Milliseconds, the most that the timers of all runtimes can wait, in whole days. */
export const LONGEST: number = 24 * UNITS.d!;

/** Milliseconds, or `undefined` if it is no duration. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  const ms = Number(number) * (UNITS[unit!] ?? NaN);
  return ms <= Number.MAX_SAFE_INTEGER ? ms : undefined;
}

/** Milliseconds as people say them: `480ms`, `9.5s`, `75s`, `12m`, `3h`, `2d`. */
export function showDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 10_000) return `${Math.round(ms / 100) / 10}s`;
  if (ms < 120_000) return `${Math.round(ms / 1_000)}s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)}m`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)}h`;
  return `${Math.round(ms / 86_400_000)}d`;
}
