import * as Plot from "./plot.ts";
import type { Report } from "../harness/report.ts";
import { floorOf, mainRuntime, where } from "../harness/select.ts";
import { axis, decades, draw, duration, FLOOR, OURS } from "./frame.ts";
import { networkName, NETWORKS } from "./networks.ts";
import { contestants, runsOn } from "./peers.ts";

/** Per cent, as far apart as they are rare: half of the picture is about the slowest tenth. */
const SHARES = [50, 90, 99, 99.9];
const rarity = (percent: number) => -Math.log10(1 - percent / 100);

/** How an uncontended cycle on Redis is distributed: ours, the floor and peers, near and far. */
export function latency(report: Report): string {
  const runtime = mainRuntime(report);
  const given = { scenario: "uncontended", store: "redis" } as const;
  const shown = contestants(report);
  const lines = NETWORKS.flatMap((network) => {
    const here = where(report, { ...given, network }).filter(runsOn(runtime));
    const ours = here.find(({ kind }) => kind === "ours");
    const floor = ours && floorOf(report, ours);
    const all = [
      ...(floor ? [{ text: "bare calls", look: FLOOR, series: floor }] : []),
      ...shown.toReversed().flatMap(({ subject, look }) =>
        here.filter((one) => one.subject === subject).map((series) => ({ text: subject, look, series }))
      ),
    ];
    return all.map(({ series: { times }, ...line }) => ({
      ...line,
      network,
      points: [
        ...times!.curve.slice(0, 100).map((ms, percent) => ({ network, x: rarity(percent), y: ms })),
        { network, x: rarity(99.9), y: times!.p999 },
      ],
    }));
  });
  const { ticks, domain } = decades(lines.flatMap(({ points }) => points.map(({ y }) => y)), 1.1);
  return draw({
    name: "latency",
    title: "Acquire and release a free lock on Redis",
    subtitle: ["How long it takes. Log scale."],
    facet: "1 ms",
    labels: lines.filter(({ network }) => network === "1 ms")
      .map(({ text, look, points }) => ({ text, look, ...points.at(-1)! })),
    plot: {
      height: 430,
      fx: { domain: [...NETWORKS], padding: 0.14, axis: null },
      x: { domain: [0, rarity(99.9)] },
      y: { type: "log", domain },
      marks: [
        ...axis("y", ticks, null, duration),
        ...axis(
          "x",
          SHARES.map(rarity),
          "% of all cycles take no longer",
          (x) => `${Number((100 - 10 ** (2 - x)).toFixed(1))}`,
        ),
        Plot.text(NETWORKS, {
          fx: (network) => network,
          text: networkName,
          frameAnchor: "top",
          dy: -14,
          fontWeight: 600,
        }),
        ...lines.map(({ look, points }) =>
          Plot.line(points, {
            x: "x",
            y: "y",
            fx: "network",
            ...look,
            strokeWidth: look === OURS ? 3.5 : look.strokeWidth,
          })
        ),
      ],
    },
  });
}
