/** Finds in a report what belongs together. */
import type { Report, Series } from "./report.ts";

/** How runtimes and stores are called in headings. */
const NAMES: Readonly<Record<string, string>> = {
  deno: "Deno",
  bun: "Bun",
  node: "Node",
  sqlite: "SQLite",
  postgres: "Postgres",
  redis: "Redis",
  redlock: "Redlock",
  zookeeper: "ZooKeeper",
  consul: "Consul",
};

/** The name of a runtime or a store, for a reader. */
export function titleOf(name: string): string {
  return NAMES[name] ?? name;
}

/** The stores of a report, in its order. */
export function stores({ series }: Report): string[] {
  return [...new Set(series.map(({ store }) => store))];
}

/** The runtime that pictures and the short table are about: that of the peers, the first of ours. */
export function mainRuntime({ series }: Report): string {
  return series.find(({ kind }) => kind === "ours")?.runtime ?? "";
}

/** The series that agree with all that is given. */
export function where(report: Report, given: Partial<Series>): Series[] {
  const fields = Object.entries(given) as [keyof Series, unknown][];
  return report.series.filter((one) => fields.every(([field, value]) => one[field] === value));
}

/** What the series is compared with: the quickest bare calls of the same circumstances. */
export function floorOf(
  report: Report,
  { scenario, store, network, runtime, size }: Series,
): Series | undefined {
  return where(report, { scenario, store, network, runtime, size, kind: "floor" })
    .filter(({ times, rate }) => times !== undefined || rate !== undefined)
    .sort((a, b) => (a.times?.p50 ?? 0) - (b.times?.p50 ?? 0) || (b.rate ?? 0) - (a.rate ?? 0))[0];
}

/** Ours on the main runtime beside the floor, as ratios. */
export function aboveFloor(
  report: Report,
  given: Pick<Series, "scenario" | "store" | "network">,
): { readonly p50: number; readonly p99: number } | undefined {
  const [ours] = where(report, { ...given, kind: "ours", runtime: mainRuntime(report) });
  const floor = ours && floorOf(report, ours);
  if (ours?.times === undefined || floor?.times === undefined) return;
  return { p50: ours.times.p50 / floor.times.p50, p99: ours.times.p99 / floor.times.p99 };
}
