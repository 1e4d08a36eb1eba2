import { DataPointType, type MetricData } from "@opentelemetry/sdk-metrics";

/** The units that metrics have here, as Prometheus writes them; those in braces are dropped. */
const UNITS: Readonly<Record<string, string>> = { s: "seconds", "1": "" };

/** The labels of a series, each with its values. */
export type Labels = ReadonlyMap<string, ReadonlySet<unknown>>;

/** Each series that Prometheus makes of metrics, by its name. */
export function seriesOf(metrics: readonly MetricData[]): Map<string, Labels> {
  const series = new Map<string, Labels>();
  for (const metric of metrics) {
    const labels = new Map<string, Set<unknown>>();
    for (const { attributes } of metric.dataPoints) {
      for (const [name, value] of Object.entries(attributes)) {
        const label = name.replaceAll(/[^a-zA-Z0-9_]/g, "_");
        labels.set(label, (labels.get(label) ?? new Set()).add(value));
      }
    }
    const name = nameOf(metric);
    if (metric.dataPointType === DataPointType.HISTOGRAM) {
      series.set(`${name}_bucket`, new Map([...labels, ["le", new Set()]]));
      for (const part of ["sum", "count"]) series.set(`${name}_${part}`, labels);
    } else series.set(name, labels);
  }
  return series;
}

/** As `prometheus/otlptranslator` does with the default strategy, underscores and suffixes. */
function nameOf({ descriptor: { name, unit }, ...metric }: MetricData): string {
  const suffix = /^\{.*\}$/.test(unit) ? "" : UNITS[unit];
  if (suffix === undefined) throw new Error(`Cannot tell what Prometheus makes of the unit "${unit}"`);
  const words = name.split(/[^a-zA-Z0-9:]+/);
  if (suffix !== "" && !words.includes(suffix)) words.push(suffix);
  if (metric.dataPointType === DataPointType.SUM && metric.isMonotonic) words.push("total");
  if (metric.dataPointType === DataPointType.GAUGE && unit === "1") words.push("ratio");
  return words.join("_");
}
