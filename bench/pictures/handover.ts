import * as Plot from "./plot.ts";
import type { Report } from "../harness/report.ts";
import { mainRuntime, where } from "../harness/select.ts";
import { axis, decades, draw, duration, short } from "./frame.ts";
import { contestants, runsOn } from "./peers.ts";

/** How long a hand-over takes among how many waiters: ours and peers, on Redis. */
export function handover(report: Report): string {
  const all = where(report, { scenario: "crowd", store: "redis", network: "loopback" })
    .filter(runsOn(mainRuntime(report)))
    .sort((a, b) => a.size! - b.size!);
  const lines = contestants(report).toReversed().map(({ subject, look }) => {
    const crowds = all.filter((series) => series.subject === subject);
    return {
      text: subject,
      look,
      points: crowds.flatMap(({ size, rate }) => rate === undefined ? [] : [{ x: size!, y: 1_000 / rate }]),
      /** Whether more of them were not all served in time. */
      open: crowds.some(({ rate, waits }) => rate === undefined || waits?.includes(-1)),
    };
  }).filter(({ points }) => points.length > 0);
  const xs = decades(lines.flatMap(({ points }) => points.map(({ x }) => x)));
  const ys = decades(lines.flatMap(({ points }) => points.map(({ y }) => y)), 1.1);
  return draw({
    name: "handover",
    title: "From one waiter to the next, on Redis",
    subtitle: [
      "Time until all have been served, by their number. Log scales.",
      "Ends early: more not tried. Open circle: not all served in a minute.",
    ],
    labels: lines.map(({ text, look, points }) => ({ text, look, ...points.at(-1)! })),
    plot: {
      height: 450,
      x: { type: "log", domain: xs.domain },
      y: { type: "log", domain: ys.domain },
      marks: [
        ...axis("y", ys.ticks, null, duration),
        ...axis("x", xs.ticks, "waiters", short),
        ...lines.flatMap(({ look, points, open }) => [
          Plot.line(points, { x: "x", y: "y", ...look }),
          Plot.dot(open ? points.slice(0, -1) : points, {
            x: "x",
            y: "y",
            r: look.strokeWidth + 1,
            fill: look.stroke,
          }),
          Plot.dot(open ? points.slice(-1) : [], {
            x: "x",
            y: "y",
            r: 7,
            stroke: look.stroke,
            strokeWidth: 2,
          }),
        ]),
      ],
    },
  });
}
