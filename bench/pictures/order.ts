import * as Plot from "./plot.ts";
import type { Report, Series } from "../harness/report.ts";
import { mainRuntime, where } from "../harness/select.ts";
import { brief, draw, duration, HEAD, other, OURS } from "./frame.ts";
import { contestants, runsOn } from "./peers.ts";

/** Where those are drawn that were never served, as a part of the time in which the last one was. */
const NEVER = 1.08;
/** A line without a length is a dot: a crowd of them is one path. */
const dots = (context: { moveTo(x: number, y: number): void; closePath(): void }) => ({
  lineStart() {},
  lineEnd() {},
  point(x: number, y: number) {
    context.moveTo(x, y);
    context.closePath();
  },
});

/** In which order a crowd is served: ours, and of the peers the fairest, the middle one and the least fair. */
export function order(report: Report): string {
  const { size, crowds } = crowdsInOrder(report);
  const looks = new Map(contestants(report).map(({ subject, look }) => [subject, look]));
  const panels = crowds.map(({ subject, kind, waits = [] }, at) => {
    const last = Math.max(...waits);
    return {
      heading: waits.includes(-1) ? `${subject} (at the top: never)` : subject,
      last,
      look: kind === "ours" ? OURS : looks.get(subject) ?? other(at),
      facet: { fx: at % 2, fy: Math.floor(at / 2) },
      points: waits.map((ms, n) => ({ x: 1 + n * size / waits.length, y: ms < 0 ? NEVER : ms / last })),
    };
  });
  const rows = Math.ceil(panels.length / 2);
  return draw({
    name: "order",
    title: `Who is served when, among ${brief(size)} waiters on Redis`,
    subtitle: [
      "Time until each has the lock, in the order of arrival.",
      "A straight line is first come, first served.",
    ],
    plot: {
      height: HEAD + rows * 200,
      marginBottom: 0,
      fx: { domain: [0, 1], paddingInner: 0.25, paddingOuter: 0, axis: null },
      fy: { domain: Array.from({ length: rows }, (_, row) => row), padding: 0, axis: null },
      x: { domain: [1, size], axis: null },
      y: { domain: [-0.2, 1.3], axis: null },
      marks: panels.flatMap(({ heading, last, look, facet: { fx, fy }, points }) => {
        const text = (text: string, x: number, y: number, options: Plot.TextOptions) =>
          Plot.text([text], { fx: [fx], fy: [fy], x: [x], y: [y], ...options });
        const facet = { fx: () => fx, fy: () => fy };
        const left = { textAnchor: "end", dx: -7 } as const;
        return [
          Plot.ruleY([0, 1], { ...facet, strokeOpacity: 0.16 }),
          text(heading, 1, 1.2, { textAnchor: "start", fill: look.stroke, fontWeight: 700 }),
          text(duration(last), 1, 1, left),
          text("0", 1, 0, left),
          text("1st", 1, -0.1, { textAnchor: "start" }),
          text(`${brief(size)}th`, size, -0.1, { textAnchor: "end" }),
          Plot.line(points, { ...facet, x: "x", y: "y", stroke: look.stroke, strokeWidth: 3.5, curve: dots }),
        ];
      }),
    },
  });
}

/** The greatest crowd that a peer was served in, and who is shown of it. */
export function crowdsInOrder(report: Report): { readonly size: number; readonly crowds: readonly Series[] } {
  const all = where(report, { scenario: "crowd", store: "redis", network: "loopback" })
    .filter(runsOn(mainRuntime(report)))
    .filter(({ waits }) => waits !== undefined);
  const size = Math.max(...all.filter(({ kind }) => kind === "peer").map(({ size }) => size!));
  const largest = all.filter((one) => one.size === size);
  const ours = largest.filter(({ kind }) => kind === "ours");
  const peers = largest.filter(({ kind }) => kind === "peer")
    .sort((a, b) => a.values!.disorder! - b.values!.disorder!);
  const chosen = [peers[0], peers[Math.floor(peers.length / 2)], peers.at(-1)];
  return { size, crowds: [...ours, ...new Set(chosen.filter((one) => one !== undefined))] };
}
