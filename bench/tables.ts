/** What the READMEs say of a report: Markdown, each between the same two marks. */
import type { Figure, Report, Series } from "./harness/report.ts";
import { kept } from "./bounds.ts";
import { aboveFloor, floorOf, mainRuntime, stores, titleOf, where } from "./harness/select.ts";
import { brief, duration } from "./pictures/frame.ts";
import { crowdsInOrder } from "./pictures/order.ts";
import { contestants, runsOn } from "./pictures/peers.ts";

const [START, END] = ["<!-- figures -->", "<!-- /figures -->"];

/** The text, with another section between its marks. */
export function withSection(text: string, section: string): string {
  const [before, after] = [text.indexOf(START), text.indexOf(END)];
  if (before < 0 || after < before) throw new Error(`No ${START} ... ${END} in the text`);
  return `${text.slice(0, before)}${START}\n\n${section}\n${text.slice(after)}`;
}

/** For the README: a row for each store, and three pictures. */
export function figuresSection(report: Report): string {
  const { date, machine, versions } = report.taken;
  const runtime = mainRuntime(report);
  const rows = stores(report).flatMap((store) => {
    const cells = (scenario: Series["scenario"], network: Series["network"]) => {
      const [ours] = where(report, { scenario, store, network, kind: "ours", runtime });
      const ratio = aboveFloor(report, { scenario, store, network });
      return [
        ours?.times ? duration(ours.times.p50) : "",
        ratio ? `${times(ratio.p50)}, ${times(ratio.p99)}` : "",
      ];
    };
    const row = [
      ...cells("uncontended", "loopback"),
      cells("uncontended", "1 ms")[1]!,
      ...cells("handover", "loopback"),
    ];
    return row.every((cell) => cell === "") ? [] : [[titleOf(store), ...row]];
  });
  const images = [
    ["handover", altOfHandover(report)],
    ["order", altOfOrder(report)],
    ["latency", altOfLatency(report)],
  ] as const;
  const [imported] = where(report, { scenario: "import" });
  const importing = imported?.times === undefined
    ? ""
    : `Importing \`@holdfast/lock\` takes ${duration(imported.times.p50)} on ${titleOf(imported.runtime)}. `;
  return `Median times, and beside them their ratio to the store's own bare calls: of the medians (p50), and of the
slowest of a hundred (p99).

${
    table([
      "",
      "acquire + release, when free",
      "to bare calls: p50, p99",
      "over a network of 1 ms: p50, p99",
      "hand-over to a waiting process",
      "to a bare wake-up: p50, p99",
    ], rows)
  }

${
    images.map(([name, alt]) => `<img src="bench/pictures/${name}.svg" width="800" alt="${escaped(alt)}">`)
      .join("\n\n")
  }

${importing}Taken on ${date} on ${machine}, with ${
    versionOf(runtime, versions)
  }. [bench/README.md](bench/README.md) has
everything: each store and runtime, other packages, and the bounds that are not kept.
`;
}

/** For bench/README.md: everything. It is laid out as it comes, not as the formatter would. */
export function tables(report: Report): string {
  const { taken: { date, machine, versions }, remarks = [] } = report;
  const parts = [
    `<!-- deno-fmt-ignore-start -->`,
    `Taken on ${date} on ${machine}, with ${
      Object.keys(versions).map((name) => versionOf(name, versions)).join(", ")
    }.`,
    ...stores(report).flatMap((store) => [
      `## ${titleOf(store)}`,
      ...SCENARIOS.flatMap((scenario) => scenarioOf(report, store, scenario)),
    ]),
    ...bounds(report.figures),
    ...(remarks.length > 0 ? ["## Not measured", remarks.map((remark) => `- ${remark}`).join("\n")] : []),
    `<!-- deno-fmt-ignore-end -->`,
  ];
  return `${parts.join("\n\n")}\n`;
}

/** A scenario in its tables. */
interface Heading {
  readonly scenario: Series["scenario"];
  readonly title: string;
  /** What its sizes are. */
  readonly size?: string;
}

const SCENARIOS: readonly Heading[] = [
  { scenario: "uncontended", title: "Acquire and release, the same key each time" },
  { scenario: "fresh", title: "Acquire and release, a new key each time" },
  { scenario: "flight", title: "Many at once in one process", size: "in flight" },
  { scenario: "handover", title: "A hand-over to another process" },
  { scenario: "crowd", title: "A hand-over in a crowd", size: "waiters" },
  { scenario: "held", title: "Locks that are held: each period of renewals", size: "locks" },
  { scenario: "keys", title: "Acquire and release among locks that are held", size: "locks" },
  { scenario: "readers", title: "A reader's acquire and release among readers of its key", size: "readers" },
  { scenario: "takeover", title: "After its holder was killed", size: "ttl, ms" },
  { scenario: "import", title: "Importing it" },
];

/** The values of a series, with their units. */
const VALUES: Readonly<Record<string, string>> = {
  calls: "calls",
  server: "server, ms of CPU",
  client: "client, ms of CPU",
  heap: "heap, bytes a lock",
  disorder: "disorder",
  idle: "idle, % of a core",
  longest: "longest call, ms",
  standstill: "standstill, ms",
};

function scenarioOf(report: Report, store: string, { scenario, title, size }: Heading): string[] {
  const all = where(report, { store, scenario });
  if (all.length === 0) return [];
  const values = [...new Set(all.flatMap((one) => Object.keys(one.values ?? {})))];
  const columns: [title: string, cell: (series: Series) => string][] = [
    ["network", ({ network }) => network],
    ["runtime", ({ runtime }) => runtime],
    ["", ({ kind, subject }) => kind === "ours" ? `**${subject}**` : subject],
    [size ?? "size", ({ size }) => number(size)],
    ["p50, ms", ({ times }) => number(times?.p50)],
    ["p99", ({ times }) => number(times?.p99)],
    ["p99.9", ({ times }) => number(times?.p999)],
    ["p50 of each turn", ({ times }) => times ? times.spread.map(number).join(" to ") : ""],
    ["a second", ({ rate }) => number(rate)],
    ["beside the floor", (series) => series.kind === "floor" ? "" : times(beside(report, series))],
    ...values.map((name): [string, (series: Series) => string] => [
      VALUES[name] ?? name,
      (series) => number(series.values?.[name]),
    ]),
    ["", (series) => unserved(series)],
  ];
  const used = columns.filter(([, cell]) => all.some((series) => cell(series) !== ""));
  const rows = all.map((series) => used.map(([, cell]) => cell(series)));
  return [`### ${title}`, table(used.map(([title]) => title), rows)];
}

/** The medians, or the rates, as a ratio. */
function beside(report: Report, series: Series): number | undefined {
  const floor = floorOf(report, series);
  if (series.times && floor?.times) return series.times.p50 / floor.times.p50;
  if (series.rate && floor?.rate) return series.rate / floor.rate;
}

function unserved({ scenario, rate, waits = [] }: Series): string {
  if (scenario !== "crowd") return "";
  const never = waits.filter((ms) => ms < 0).length;
  return rate === undefined || never > 0 ? "not all were served in time" : "";
}

function bounds(figures: readonly Figure[]): string[] {
  const rows = figures.map((figure) => [
    titleOf(figure.store),
    figure.what,
    valueOf(figure),
    boundOf(figure),
    kept(figure) ? "" : "not kept",
  ]);
  // What has one reason is one point.
  const broken = [...Map.groupBy(figures.filter((figure) => !kept(figure)), ({ why }) => why)]
    .map(([why, some]) => {
      const each = some.map((figure) =>
        `${titleOf(figure.store)}, ${figure.what}: ${valueOf(figure)}, ${boundOf(figure)}`
      );
      return `- ${each.join("; ")}. ${why ?? ""}`.trim();
    });
  return [
    "## Bounds",
    table(["store", "figure", "measured", "bound", ""], rows),
    "## Bounds that are not kept",
    broken.length > 0 ? broken.join("\n") : "None.",
  ];
}

function valueOf({ value, unit }: Figure): string {
  return unit === "x" ? times(value) : `${number(value)} ${UNITS[unit] ?? unit}`;
}

const UNITS: Readonly<Record<string, string>> = { "/s": "a second", B: "bytes" };

function boundOf({ bound }: Figure): string {
  if (bound === undefined) return "";
  return "most" in bound ? `at most ${number(bound.most)}` : `at least ${number(bound.least)}`;
}

function altOfLatency(report: Report): string {
  const given = {
    scenario: "uncontended",
    store: "redis",
    kind: "ours",
    runtime: mainRuntime(report),
  } as const;
  const parts = where(report, given).map((ours) => {
    const floor = floorOf(report, ours)?.times;
    const network = ours.network === "loopback" ? "on the same machine" : "over a network of 1 ms";
    const bare = floor ? `, the bare calls ${duration(floor.p50)}` : "";
    return `${network} ${ours.subject} takes ${duration(ours.times!.p50)}${bare}`;
  });
  return `How long it takes to acquire and release a free lock on Redis, as curves of quantiles. Medians: ${
    parts.join("; ")
  }.`;
}

function altOfHandover(report: Report): string {
  const all = where(report, { scenario: "crowd", store: "redis", network: "loopback" })
    .filter(runsOn(mainRuntime(report)))
    .filter(({ rate }) => rate !== undefined);
  const parts = contestants(report).flatMap(({ subject }) => {
    const last = all.filter((series) => series.subject === subject).sort((a, b) => a.size! - b.size!).at(-1);
    return last ? [`${subject} ${duration(1_000 / last.rate!)} among ${brief(last.size!)}`] : [];
  });
  return `Time of a hand-over on Redis, by the number of waiters. At the end of each line: ${
    parts.join(", ")
  }.`;
}

function altOfOrder(report: Report): string {
  const { size, crowds } = crowdsInOrder(report);
  const parts = crowds.map(({ subject, values }) => `${subject} ${number(values!.disorder)}`);
  return `When each of ${
    brief(size)
  } waiters on Redis has the lock, in the order of arrival. Disorder, from 0 for ` +
    `first come, first served, to 1 for a lottery: ${parts.join(", ")}.`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
}

function versionOf(name: string, versions: Report["taken"]["versions"]): string {
  return `${titleOf(name)} ${versions[name] ?? ""}`.trim();
}

/** A ratio. */
function times(value: number | undefined): string {
  return value === undefined ? "" : `${value >= 10 ? brief(value) : value.toFixed(2)}x`;
}

/** Three digits, or all before the point; nothing where nothing is known. */
function number(value: number | null | undefined): string {
  if (value === undefined || value === null) return "";
  return value >= 100 ? brief(value) : `${Number(value.toPrecision(3))}`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
