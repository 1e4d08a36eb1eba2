/** The dashboard and the alerts, against the metrics that are really written, and in Prometheus' own hands. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { parser } from "@prometheus-io/lezer-promql";
import { parse } from "yaml";
import { ROOT } from "../runner/packages.ts";
import { binary } from "../servers/install.ts";
import { run } from "../servers/process.ts";
import { dataFolder } from "../servers/reaper.ts";
import { everything } from "./everything.ts";
import { type Labels, seriesOf } from "./prometheus.ts";
import { Sdk } from "./sdk.ts";

const FOLDER = join(ROOT, "examples/monitoring");

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
  readonly templating: { readonly list: readonly { readonly definition?: string; readonly name: string }[] };
}

const rules: readonly Rule[] = parse(readFileSync(join(FOLDER, "alerts.yaml"), "utf8")).groups[0].rules;
const dashboard: Dashboard = JSON.parse(readFileSync(join(FOLDER, "dashboard.json"), "utf8"));
const targets = dashboard.panels.flatMap(({ title, targets }) => targets.map((each) => ({ title, ...each })));
/** What Grafana puts in place of its variables. */
const VALUES: Readonly<Record<string, string>> = {
  __rate_interval: "5m",
  __range: "1h",
  backend: ".*",
  name: ".*",
};

/** Labels of all series of {@linkcode CASES}. */
const LABELS = { job: "app", lock_backend: "redis", lock_mode: "exclusive", lock_name: "invoice" };

/** For each alert a series, minute by minute, in promtool's notation: as long as all is well, and when it is not. */
const CASES: readonly {
  readonly alert: string;
  readonly severity: "critical" | "warning";
  readonly series: string;
  readonly own?: Readonly<Record<string, string>>;
  readonly well: string;
  readonly ill: string;
}[] = [
  {
    alert: "LockLost",
    severity: "critical",
    series: "lock_losses_total",
    own: { lock_loss_reason: "expired" },
    well: "0x15",
    ill: "0x9 1x5",
  },
  {
    alert: "LockWaitTooLong",
    severity: "warning",
    series: "lock_wait_longest_ratio",
    well: "0.9x15",
    ill: "0.2x9 1.2x5",
  },
  {
    alert: "LockRenewalFailing",
    severity: "warning",
    series: "lock_renewal_failures_total",
    well: "7x15",
    ill: "7x9 8x5",
  },
  {
    alert: "LockStoreFailing",
    severity: "warning",
    series: "lock_store_errors_total",
    own: { lock_operation: "acquire" },
    well: "3x15",
    ill: "3x9 9x5",
  },
  {
    alert: "LockNearlyLost",
    severity: "critical",
    series: "lock_remaining_ratio",
    well: "0.66x15",
    ill: "0.66x9 0.3x5",
  },
];

/** All that there is. */
let series: Map<string, Labels>;
before(async () => {
  const sdk = new Sdk();
  await everything(sdk);
  series = seriesOf(await sdk.metrics());
});

/** What an expression names: metrics, labels of its matchers and groupings, and the values of some. */
function named(
  template: string,
): { metrics: string[]; labels: string[]; values: [label: string, value: string][] } {
  const expr = template.replaceAll(/\$(\w+)/g, (_, name) => VALUES[name]!);
  const all: ReturnType<typeof named> = { metrics: [], labels: [], values: [] };
  parser.parse(expr).iterate({
    enter(node) {
      const text = expr.slice(node.from, node.to);
      assert.ok(!node.type.isError, `${expr}: at ${node.from}`);
      if (node.name === "VectorSelector") all.metrics.push(/^\w+/.exec(text)![0]);
      if (node.name === "LabelName") all.labels.push(text);
      const [, label, value] = /^(\w+)="(.*)"$/.exec(node.name === "UnquotedLabelMatcher" ? text : "") ?? [];
      if (label !== undefined) all.values.push([label, value!]);
    },
  });
  return all;
}

/** The metric that is named is written, with every label that is named beside it, and what the text shows is left. */
function check(what: string, expr: string, text: string, shown: RegExp): void {
  const { metrics, labels, values } = named(expr);
  assert.equal(metrics.length, 1, `${what}: ${expr}`);
  const known = series.get(metrics[0]!);
  assert.ok(known !== undefined, `${what}: ${metrics[0]} is none of ${[...series.keys()].join(", ")}`);
  for (const label of labels) {
    // "job" is what Prometheus calls a service.
    assert.ok(known.has(label) || label === "job", `${what}: ${metrics[0]} has no label ${label}`);
  }
  for (const [label, value] of values) {
    assert.ok(known.get(label)?.has(value), `${what}: ${metrics[0]} is never ${label}="${value}"`);
  }
  for (const [, label] of text.matchAll(shown)) {
    assert.ok(labels.includes(label!), `${what}: ${label} is summed away`);
  }
}

describe("the dashboard", () => {
  // Goes red if: a metric or an attribute is renamed on one side, an expression is no PromQL.
  test("asks for metrics and labels that there are", () => {
    assert.ok(targets.length > dashboard.panels.length);
    for (const { title, expr, legendFormat } of targets) check(title, expr, legendFormat, /\{\{(\w+)\}\}/g);
    for (const { name, definition } of dashboard.templating.list) {
      if (definition === undefined) continue;
      const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(definition)!;
      assert.ok(series.get(metric!)?.has(label!), `$${name}: ${definition}`);
    }
  });

  test("shows every metric", () => {
    const shown = new Set(targets.flatMap(({ expr }) => named(expr).metrics));
    const unseen = [...series.keys()].filter((name) => !shown.has(name));
    assert.deepEqual(unseen.filter((name) => !name.endsWith("_sum")), ["lock_hold_duration_seconds_count"]);
  });
});

describe("the alerts", () => {
  test("ask for metrics and labels that there are", () => {
    assert.equal(rules.length, 5);
    for (const { alert, expr, annotations } of rules) {
      check(alert, expr, JSON.stringify(annotations), /\$labels\.(\w+)/g);
    }
  });

  // Goes red if: a condition is never met, or always.
  test("go off when they should, and only then", { timeout: 600_000 }, async () => {
    assert.deepEqual(CASES.map(({ alert }) => alert), rules.map(({ alert }) => alert));
    const folder = dataFolder("alerts");
    // Whoever expects an alert has to repeat its annotations; what is tested is whether it goes off.
    const bare = rules.map(({ annotations: _, ...rest }) => rest);
    const write = (name: string, content: unknown) => {
      const path = join(folder, name);
      writeFileSync(path, JSON.stringify(content));
      return path;
    };
    write("rules.yaml", { groups: [{ name: "holdfast", rules: bare }] });
    const tests = write("tests.yaml", { rule_files: ["rules.yaml"], tests: [scene("well"), scene("ill")] });
    const promtool = await binary("promtool");
    await run(promtool, ["check", "rules", join(FOLDER, "alerts.yaml")]);
    await run(promtool, ["test", "rules", tests]);
  });
});

/** For promtool: a quarter of an hour in which all is well, or in which all goes wrong after ten minutes. */
function scene(how: "well" | "ill"): object {
  return {
    interval: "1m",
    input_series: CASES.map(({ series, own, [how]: values }) => {
      const labels = Object.entries({ ...LABELS, ...own }).map(([name, value]) => `${name}="${value}"`);
      return { series: `${series}{${labels.join(", ")}}`, values };
    }),
    alert_rule_test: CASES.map(({ alert, severity, own }, at) => {
      const kept = new Set(named(rules[at]!.expr).labels);
      const labels = Object.entries({ ...LABELS, ...own }).filter(([name]) => kept.has(name));
      const off = { exp_labels: { severity, ...Object.fromEntries(labels) } };
      return { eval_time: "12m", alertname: alert, exp_alerts: how === "ill" ? [off] : [] };
    }),
  };
}
