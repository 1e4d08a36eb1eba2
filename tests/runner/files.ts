/** Which test files a run consists of. */
import { readdirSync } from "node:fs";
import process from "node:process";
import { ROOT } from "./packages.ts";

/** Every store that has a folder of tests of its own. */
const STORES = ["memory", "sqlite", "redis", "redlock", "etcd", "zookeeper", "consul", "postgres"];

/**
 * What takes longest, the longest first: it goes first, so that a run does not end with waiting for one file.
 * Nothing else depends on it, and a file that is not among these, or is no longer long, costs seconds.
 */
const LONG = [
  "faults/faults",
  "leaks",
  "zookeeper/faults",
  "postgres/server",
  "postgres/faults",
  "zookeeper/costs",
  "sqlite/believing",
  "redlock/cluster",
  "examples/together",
  "consul/session",
  "oldest",
  "zookeeper/cluster",
  "sqlite/security",
  "redis/failover",
  "simulation",
  "etcd/scale",
  "conformance",
  "redis/silence",
  "closing",
  "watch_only",
  "redis/client",
];

/** The stores of this run: those of the names in `BACKENDS` ("etcd-cluster" is etcd), or all. */
export function chosenStores(): string[] {
  const names = process.env.BACKENDS;
  if (!names) return STORES;
  const chosen = names.split(",").map((name) => name.trim().split("-")[0]);
  return STORES.filter((store) => chosen.includes(store));
}

/** The files `tests/**\/*_test.ts` whose path has one of the parts, without those of stores left out. */
export function testFiles(parts: readonly string[]): string[] {
  const stores = chosenStores();
  const skipped = STORES.filter((store) => !stores.includes(store)).map((store) => `tests/${store}/`);
  return readdirSync(`${ROOT}/tests`, { recursive: true })
    .map((name) => `tests/${String(name).replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith("_test.ts"))
    .filter((path) => !skipped.some((folder) => path.startsWith(folder)))
    .filter((path) => parts.length === 0 || parts.some((part) => path.includes(part)))
    .sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

function place(path: string): number {
  const index = LONG.findIndex((part) => path.startsWith(`tests/${part}`));
  return index < 0 ? LONG.length : index;
}
