/**
 * `deno task bench`: measures all stores, or some; prints the figures with the bounds they are held to. The exit status
 * is 1 if one is not kept that has no reason in `bounds.ts`, or by more than that explains.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import process from "node:process";
import { Command } from "commander";
import { installPackages } from "../tests/runner/packages.ts";
import { install, NEEDS } from "../tests/servers/install.ts";
import { figures, kept } from "./bounds.ts";
import type { Figure, Report, Series } from "./harness/report.ts";
import { type RuntimeName, RUNTIMES } from "./harness/runner.ts";
import { crowd } from "./scenarios/crowd.ts";
import { flight } from "./scenarios/flight.ts";
import { handover } from "./scenarios/handover.ts";
import { held } from "./scenarios/held.ts";
import { importing } from "./scenarios/import.ts";
import { keys, readers } from "./scenarios/keys.ts";
import type { Scenario, Scene } from "./scenarios/scene.ts";
import { takeover } from "./scenarios/takeover.ts";
import { uncontended } from "./scenarios/uncontended.ts";
import { consul } from "./stores/consul.ts";
import { etcd } from "./stores/etcd.ts";
import { memory } from "./stores/memory.ts";
import { postgres } from "./stores/postgres.ts";
import { redis } from "./stores/redis.ts";
import { redlock } from "./stores/redlock.ts";
import { sqlite } from "./stores/sqlite.ts";
import type { Store } from "./stores/store.ts";
import { zookeeper } from "./stores/zookeeper.ts";

const STORES: readonly Store[] = [memory, sqlite, postgres, redis, redlock, etcd, zookeeper, consul];
/** Between processes. */
const APART: readonly Scenario[] = [handover, takeover];
/** Where round trips count. */
const FAR: readonly Scenario[] = [uncontended, flight, handover];
const ALL: readonly Scenario[] = [uncontended, flight, ...APART, crowd, held, keys, readers];
/** Milliseconds each way. */
const HALF = 0.5;

const { store, runtime, peers, quick, scenario, report: path } = options();
const names = store ?? STORES.map(({ name }) => name);
installPackages();
await install(names.flatMap((name) => NEEDS[name] ?? []));

const series: Series[] = [];
const versions: Record<string, string> = Object.fromEntries(runtime.map((name) => [name, versionOf(name)]));
const remarks = new Set<string>();
/** What could not be measured is said, and costs none of the rest. */
let failed = false;
for (const one of STORES.filter(({ name }) => names.includes(name))) {
  try {
    series.push(...await measure(one));
  } catch (error) {
    failed = true;
    console.error(error);
    remarks.add(`${one.name}: not measured: ${error instanceof Error ? error.message : error}`);
  }
  write();
}
if (scenario === undefined || scenario.includes("importing")) series.push(importing());

const { figures: all } = write();
for (const figure of all) console.log(line(figure));
for (const remark of remarks) console.log(remark);
process.exit(!failed && all.every((figure) => kept(figure) || figure.why !== undefined) ? 0 : 1);

/** What has been measured so far. */
function write(): Report {
  const found: Report = { taken: taken(), series, figures: [] };
  const report = { ...found, figures: figures(found), remarks: [...remarks] };
  if (path !== undefined) writeFileSync(path, `${JSON.stringify(report)}\n`);
  return report;
}

function options() {
  const list = (text: string) => text.split(",");
  const command = new Command("deno task bench")
    .option("--store <names>", "only these, with commas between them", list)
    .option("--runtime <names>", "deno, bun, node; peers and crowds are measured on the first", list, [
      "node",
    ])
    .option("--scenario <names>", "only these", list)
    .option("--peers", "other packages too, and those in Go and Java where the machine can build them", false)
    .option("--quick", "a tenth of the work: to see that it runs", false)
    .option("--report <file>", "writes all that has been measured");
  command.parse(process.argv);
  const given = command.opts<{
    store?: string[];
    runtime: RuntimeName[];
    scenario?: string[];
    peers: boolean;
    quick: boolean;
    report?: string;
  }>();
  const check = (what: string, all: readonly string[], some: readonly string[] = []) => {
    const wrong = some.find((name) => !all.includes(name));
    if (wrong !== undefined) command.error(`No such ${what}: ${wrong}. There are ${all.join(", ")}`);
  };
  check("store", STORES.map(({ name }) => name), given.store);
  check("runtime", Object.keys(RUNTIMES), given.runtime);
  check("scenario", [...ALL.map(({ name }) => name), "importing"], given.scenario);
  return given;
}

async function measure(store: Store): Promise<Series[]> {
  await using running = await store.start();
  if (running.version !== undefined) versions[store.name] = await running.version();
  const scene: Scene = {
    ...{ store, running, runtimes: runtime, network: "loopback", address: running.address },
    contestants: store.contestants.filter(({ kind }) => peers || kind !== "peer"),
    effort: quick ? 0.1 : 1,
    remark: (text) => remarks.add(`${store.name}: ${text}`),
  };
  const found = await play(scene, store.alone ? ALL.filter((one) => !APART.includes(one)) : ALL);
  await using way = await running.far?.(HALF);
  if (way !== undefined) found.push(...await play({ ...scene, network: "1 ms", address: way.address }, FAR));
  return found;
}

async function play(scene: Scene, scenarios: readonly Scenario[]): Promise<Series[]> {
  const found: Series[] = [];
  for (const one of scenarios) {
    if (scenario !== undefined && !scenario.includes(one.name)) continue;
    const since = performance.now();
    found.push(...await one(scene));
    const took = Math.round((performance.now() - since) / 1_000);
    console.error(`${scene.store.name}, ${scene.network}: ${one.name} (${took} s)`);
  }
  return found;
}

function versionOf(name: RuntimeName): string {
  const { stdout } = spawnSync(RUNTIMES[name]([]).binary, ["--version"], { encoding: "utf8" });
  return /\d+\.\d+\.\d+/.exec(stdout)![0];
}

function taken(): Report["taken"] {
  const [first, ...more] = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${first!.model}, ${more.length + 1} cores`,
    versions,
  };
}

function line(figure: Figure): string {
  const { store, what, value, unit, bound, why } = figure;
  const digits = value >= 1_000 ? value.toFixed(0) : value.toPrecision(3);
  const limit = bound === undefined ? "" : "most" in bound ? `<= ${bound.most}` : `>= ${bound.least}`;
  const mark = kept(figure) ? " " : why === undefined ? "!" : "-";
  return `${mark} ${`${store}: ${what}`.padEnd(90)} ${digits.padStart(9)} ${unit.padEnd(5)} ${limit}`;
}
