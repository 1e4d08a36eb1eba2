import * as Plot from "./plot.ts";
import type { Report } from "../harness/report.ts";
import { mainRuntime, stores, titleOf, where } from "../harness/select.ts";
import { axis, decades, draw, duration, other, short } from "./frame.ts";

const SIDES = ["server", "client"] as const;

/** What it costs to hold locks: processor time of the server and of the process, per store. */
export function held(report: Report): string {
  const runtime = mainRuntime(report);
  const lines = stores(report).flatMap((store, at) => {
    const all = where(report, { scenario: "held", store, network: "loopback", runtime, kind: "ours" })
      .sort((a, b) => a.size! - b.size!);
    return SIDES.map((side) => ({
      side,
      text: titleOf(store),
      look: { ...other(at), strokeWidth: 2.5 },
      points: all.flatMap(({ size, values }) => {
        const ms = values?.[side];
        return ms ? [{ side, x: size!, y: ms }] : [];
      }),
    }));
  }).filter(({ points }) => points.length > 0);
  const xs = decades(lines.flatMap(({ points }) => points.map(({ x }) => x)));
  const ys = decades(lines.flatMap(({ points }) => points.map(({ y }) => y)), 1.1);
  return draw({
    name: "held",
    title: "What it costs to keep locks",
    subtitle: ["Processor time in each period of renewals. Log scales."],
    facet: "client",
    labels: lines.filter(({ side }) => side === "client")
      .map(({ text, look, points }) => ({ text, look, ...points.at(-1)! })),
    plot: {
      height: 430,
      fx: { domain: [...SIDES], padding: 0.14, axis: null },
      x: { type: "log", domain: xs.domain },
      y: { type: "log", domain: ys.domain },
      marks: [
        ...axis("y", ys.ticks, null, duration),
        ...axis("x", xs.ticks, "locks held", short),
        Plot.text(SIDES, {
          fx: (side: string) => side,
          text: (side: string) => side === "server" ? "in the store" : "in the process",
          frameAnchor: "top",
          dy: -14,
          fontWeight: 600,
        }),
        ...lines.flatMap(({ look, points }) => [
          Plot.line(points, { x: "x", y: "y", fx: "side", ...look }),
          Plot.dot(points, { x: "x", y: "y", fx: "side", r: 3.5, fill: look.stroke }),
        ]),
      ],
    },
  });
}
