/** What the pictures share: size, colours and letters. Each adapts to light and dark by itself. */
import * as Plot from "./plot.ts";
import { parseHTML } from "linkedom";

/** Units of the drawing; a phone has about half as many pixels for it. */
export const WIDTH = 640;
/** The size of letters, and from one line to the next. */
const LETTERS = 16;
const LINE = 19;
/** The height of the title and what is under it. */
export const HEAD = 84;
/** The width of what stands left of the axis. */
export const SIDE = 72;

/** How something is drawn. */
export interface Look {
  readonly stroke: string;
  readonly strokeWidth: number;
  readonly strokeDasharray?: string;
}

/** Ours, and the bare calls that are the floor. */
export const OURS: Look = { stroke: "var(--ours)", strokeWidth: 4 };
export const FLOOR: Look = { stroke: "var(--floor)", strokeWidth: 2.5, strokeDasharray: "7 5" };

/** Colours that can be told apart, on white and on black. */
const LIGHT = ["#9a6700", "#2e7d4f", "#8250a8", "#b5456a", "#27818c", "#8a5a3c", "#5f6f1d", "#5b6bb0"];
const DARK = ["#d9a441", "#63b884", "#b693dd", "#e08aa5", "#5cbcc7", "#c79a7b", "#a8b85a", "#98a6e6"];

/** The look of the others, each in a colour of its own. */
export function other(at: number): Look {
  return { stroke: `var(--c${at % LIGHT.length})`, strokeWidth: 2 };
}

/** What is written at the end of a line. */
export interface Label {
  readonly text: string;
  readonly look: Look;
  /** Where the line ends, as the scales have it. */
  readonly x: number;
  readonly y: number;
}

/** What a picture consists of. */
export interface Picture {
  /** The class of its root: styles of several pictures in one page must not meet. */
  readonly name: string;
  readonly title: string;
  /** Its lines: one or two. */
  readonly subtitle: readonly string[];
  readonly plot: Plot.PlotOptions;
  /** In the right margin, each as near to its line as the others leave it room. */
  readonly labels?: readonly Label[];
  /** The facet in which the labelled lines end. */
  readonly facet?: string;
}

/** The part of the DOM that is used. */
interface Element {
  textContent: string;
  append(...children: Element[]): void;
  prepend(...children: Element[]): void;
  setAttribute(name: string, value: string): void;
  getAttribute(name: string): string;
  querySelector(selector: string): Element;
  querySelectorAll(selector: string): Iterable<Element>;
  readonly outerHTML: string;
}

/** Draws it: always the same text, but for a tenth of a unit from runtime to runtime. */
export function draw({ name, title, subtitle, plot, labels = [], facet }: Picture): string {
  const { document } = parseHTML("<html></html>") as unknown as {
    document: { createElementNS(space: string, name: string): Element };
  };
  const make = (tag: string, attributes: Record<string, string | number>, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, `${value}`);
    element.textContent = text;
    return element;
  };
  const marginRight = Math.max(16, ...labels.map(({ text }) => 30 + breadth(text)));
  const className = `holdfast-${name}`;
  const options = {
    width: WIDTH,
    marginTop: HEAD,
    marginLeft: SIDE,
    marginRight,
    marginBottom: 56,
    ...plot,
    className,
  };
  const svg: Element & Plot.Plot = Plot.plot({ ...options, document: document as never });

  svg.querySelector("style").textContent = style(className);
  const heading = { x: 4, y: 20, "font-size": 19, "font-weight": 600, "text-anchor": "start" };
  svg.append(make("text", heading, title));
  for (const [at, text] of subtitle.entries()) {
    svg.append(make("text", { ...heading, y: 42 + at * LINE, "font-size": 15, "font-weight": 400 }, text));
  }
  if (labels.length > 0) {
    const [x, y, fx] = (["x", "y", "fx"] as const).map((scale) => svg.scale(scale));
    const shift = fx === undefined ? 0 : fx.apply(facet) - options.marginLeft;
    const ends = labels
      .map((label) => ({ ...label, x: x!.apply(label.x) + shift, y: y!.apply(label.y) }))
      .sort((a, b) => a.y - b.y);
    const places = apart(ends.map(({ y }) => y), HEAD + LINE / 2, options.height! - options.marginBottom);
    const left = WIDTH - marginRight + 24;
    for (const [at, { text, look, x, y }] of ends.entries()) {
      const place = places[at]!;
      const path = `M${x + 5},${y}L${Math.max(x + 5, left - 18)},${y}L${left - 4},${place}`;
      svg.append(make("path", { d: path, fill: "none", stroke: look.stroke, "stroke-opacity": 0.6 }));
      const weight = look === OURS ? 700 : 400;
      const attributes = { x: left, y: place, dy: "0.32em", "font-weight": weight, "text-anchor": "start" };
      svg.append(make("text", { ...attributes, fill: look.stroke }, text));
    }
  }
  svg.prepend(make("title", {}, `${title}: ${subtitle.join(" ")}`));
  for (const [key, value] of [["xmlns", "http://www.w3.org/2000/svg"], ["role", "img"]] as const) {
    svg.setAttribute(key, value);
  }
  tidy(svg);
  return `${svg.outerHTML}\n`;
}

/** About as many units as the text is long. */
function breadth(text: string): number {
  return text.length * LETTERS * 0.6;
}

/** Moves rising places apart, so that each has a line: those that are too close spread from their middle. */
function apart(wanted: readonly number[], least: number, most: number): number[] {
  const groups: { sum: number; count: number }[] = [];
  const middle = ({ sum, count }: { sum: number; count: number }) => sum / count;
  for (const [at, place] of wanted.entries()) {
    let group = { sum: place - at * LINE, count: 1 };
    while (groups.length > 0 && middle(groups.at(-1)!) > middle(group)) {
      const { sum, count } = groups.pop()!;
      group = { sum: group.sum + sum, count: group.count + count };
    }
    groups.push(group);
  }
  const last = most - (wanted.length - 1) * LINE;
  return groups
    .flatMap((group) => Array.from({ length: group.count }, () => middle(group)))
    .map((place, at) => Math.max(least, Math.min(last, place)) + at * LINE);
}

/** Leaves the tenths of a unit: more is not seen, and differs with the logarithms of a runtime. */
function tidy(svg: Element): void {
  for (const name of ["d", "transform", "x", "x1", "x2", "y", "y1", "y2", "cx", "cy", "width", "height"]) {
    for (const element of svg.querySelectorAll(`[${name}]`)) {
      const value = element.getAttribute(name);
      if (!value.endsWith("em")) element.setAttribute(name, value.replaceAll(/-?\d+\.\d+(e-\d+)?/g, tenths));
    }
  }
}

function tenths(number: string): string {
  return `${Math.round(Number(number) * 10) / 10}`;
}

function style(root: string): string {
  const colours = (ink: string, ours: string, floor: string, others: readonly string[]) =>
    `--ink:${ink};--ours:${ours};--floor:${floor};${others.map((one, at) => `--c${at}:${one}`).join(";")}`;
  return `
.${root}{${
    colours("#1f2328", "#0a5fd0", "#6e7781", LIGHT)
  };color:var(--ink);font:${LETTERS}px system-ui,sans-serif}
.${root} text{white-space:pre}
@media (prefers-color-scheme:dark){.${root}{${colours("#e6edf3", "#58a6ff", "#9198a1", DARK)}}}
`;
}

/** A grid at these ticks, and their labels. */
export function axis(
  which: "x" | "y",
  ticks: readonly number[],
  label: string | null,
  format: (value: number) => string,
): Plot.Markish[] {
  // `tickFormat` would leave out labels of a logarithmic axis.
  const look = { label, text: format, tickSize: 0, tickPadding: 6, labelArrow: "none" } as const;
  const grid = { strokeOpacity: 0.16 };
  return which === "x"
    ? [
      Plot.gridX(ticks, grid),
      Plot.axisX(ticks, { ...look, labelAnchor: "center", labelOffset: 46 }),
    ]
    : [Plot.gridY(ticks, grid), Plot.axisY(ticks, look)];
}

/** Of a logarithmic axis on which all the values are: its ends, so many times as far out, and round numbers. */
export function decades(
  values: readonly number[],
  room = 1,
): { readonly ticks: number[]; readonly domain: [number, number] } {
  const [least, most] = [Math.min(...values) / room, Math.max(...values) * room];
  const steps = STEPS.find(([range]) => most / least > range)![1];
  const all = Array.from({ length: 16 }, (_, at) => steps.map((step) => Number(`${step}e${at - 6}`))).flat();
  return { ticks: all.filter((tick) => tick >= least && tick <= most), domain: [least, most] };
}

/** Which numbers of a decade are round, where the greatest is more than so many times the least. */
const STEPS: readonly (readonly [range: number, steps: readonly number[]])[] = [
  [3_000, [1]],
  [20, [1, 3]],
  [5, [1, 2, 5]],
  [2, [1, 1.5, 2, 3, 5, 7]],
  [0, [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8]],
];

/** Milliseconds as a reader writes them. */
export function duration(ms: number): string {
  if (ms >= 60_000) return `${brief(ms / 60_000)} min`;
  if (ms >= 1_000) return `${brief(ms / 1_000)} s`;
  return ms < 0.1 ? `${brief(ms * 1_000)} µs` : `${brief(ms)} ms`;
}

/** Two digits, or all before the point; thousands apart. */
export function brief(value: number): string {
  if (value < 100) return `${Number(value.toPrecision(2))}`;
  return `${Math.round(value)}`.replaceAll(/\B(?=(\d{3})+$)/g, " ");
}

/** The same for a tick, with thousands as k. */
export function short(value: number): string {
  return value >= 1_000 ? `${brief(value / 1_000)}k` : brief(value);
}
