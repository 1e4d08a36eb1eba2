import * as Plot from "./plot.ts";
import type { Report } from "../harness/report.ts";
import { aboveFloor, stores as storesOf, titleOf } from "../harness/select.ts";
import { axis, decades, draw, HEAD, OURS } from "./frame.ts";
import { networkName, NETWORKS } from "./networks.ts";

/** How long a cycle takes on every store, beside the bare calls: near and far. */
export function stores(report: Report): string {
  const rows = storesOf(report).flatMap((store) =>
    NETWORKS.flatMap((network) => {
      const ratio = aboveFloor(report, { scenario: "uncontended", store, network });
      return ratio === undefined ? [] : [{ ...ratio, network, store: titleOf(store) }];
    })
  );
  const names = [...new Set(rows.map(({ store }) => store))];
  const ratios = [1, ...rows.flatMap(({ p50, p99 }) => [p50, p99])];
  // Room for the numbers beside the first and the last.
  const room = Math.max(1.35, (Math.max(...ratios) / Math.min(...ratios)) ** 0.32);
  const { ticks, domain } = decades(ratios, room);
  const number = {
    y: "store",
    fx: "network",
    text: ({ p50 }: { p50: number }) => p50.toFixed(2),
    fontWeight: 600,
  } as const;
  const at = { y: "store", fx: "network" } as const;
  return draw({
    name: "stores",
    title: "Acquire and release beside the store's bare calls",
    subtitle: ["How many times as long. Dot: medians. Tick: 99th percentiles."],
    plot: {
      height: HEAD + 56 + names.length * 38,
      marginLeft: 100,
      fx: { domain: [...NETWORKS], padding: 0.12, axis: null },
      x: { type: "log", domain },
      y: { domain: names, padding: 0, axis: null },
      marks: [
        ...axis("x", ticks, "times as long", (x) => `${x}x`),
        Plot.axisY({ tickSize: 0, tickPadding: 8, label: null }),
        Plot.text(NETWORKS, {
          fx: (network) => network,
          text: networkName,
          frameAnchor: "top",
          dy: -16,
          fontWeight: 600,
        }),
        Plot.ruleX([1], { stroke: "var(--floor)", strokeWidth: 2, strokeDasharray: "7 5" }),
        Plot.link(rows, { ...at, x1: "p50", x2: "p99", stroke: OURS.stroke, strokeWidth: 2 }),
        Plot.tickX(rows, { ...at, x: "p99", stroke: OURS.stroke, strokeWidth: 3, inset: 10 }),
        Plot.dot(rows, { ...at, x: "p50", r: 6, fill: OURS.stroke }),
        // On the side away from the dashed line.
        Plot.text(rows.filter(({ p50 }) => p50 < 1), {
          ...number,
          x: ({ p50, p99 }) => Math.min(p50, p99),
          textAnchor: "end",
          dx: -12,
        }),
        Plot.text(rows.filter(({ p50 }) => p50 >= 1), {
          ...number,
          x: ({ p50, p99 }) => Math.max(p50, p99),
          textAnchor: "start",
          dx: 12,
        }),
      ],
    },
  });
}
