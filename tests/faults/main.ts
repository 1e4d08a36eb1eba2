/**
 * `deno task faults [store ...]`: every fault on every store, the holder on each runtime in turn. Prints
 * the table, and keeps it in `tests/faults/README.md` if it is whole.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { installPackages } from "../runner/packages.ts";
import { runtimes } from "../runner/runtimes.ts";
import { install, NEEDS } from "../servers/install.ts";
import { endings } from "./endings.ts";
import { stores } from "./grounds.ts";
import { applicable, type Failure, run } from "./matrix.ts";
import { table } from "./table.ts";
import type { Result } from "./trial.ts";

const asked = process.argv.slice(2);
const chosen = stores.filter(({ name }) => asked.length === 0 || asked.includes(name));
installPackages();
await install(chosen.flatMap(({ name }) => NEEDS[name] ?? []));

const results: (Result | Failure)[] = [];
for (const [turn, store] of chosen.entries()) {
  const cells = applicable(store).map((fault, index) => ({
    fault,
    runtime: runtimes[(index + turn) % runtimes.length]!,
  }));
  results.push(...await run(store, cells));
}
const { text: ended, failures: robbed } = await endings(chosen.some(({ name }) => name === "sqlite"));
const text = table(results) + ended;
console.log(text);
for (const failure of robbed) console.error(failure);
const failures = results.filter((result): result is Failure => "error" in result);
for (const { store, fault, runtime, error } of failures) {
  console.error(`${fault} on ${store} (${runtime}):`, error);
}
if (asked.length === 0) writeFileSync(new URL("./README.md", import.meta.url), text);
process.exit(failures.length + robbed.length > 0 ? 1 : 0);
