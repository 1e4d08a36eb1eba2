/**
 * Runs the tests on Deno, Bun and Node: `deno task test [deno|bun|node ...] [part of a path ...]`.
 * Installs what they need, npm packages and servers. `BACKENDS=memory,redis` leaves out the tests of
 * all other stores, `JOBS` is how many files run at once, otherwise as many as the machine has time for.
 * Prints a line for each file on each runtime, after all that it printed if a test in it failed, and ends
 * with what has failed, in short, and one line `N passed, N failed`; the exit status is 1 if a test failed
 * or none ran.
 */
import process from "node:process";
import { backends } from "./backends.ts";
import { chosenStores, testFiles } from "./runner/files.ts";
import { runAll } from "./runner/pace.ts";
import { installPackages } from "./runner/packages.ts";
import { run } from "./runner/run.ts";
import { type Runtime, runtimes } from "./runner/runtimes.ts";
import { install, NEEDS } from "./servers/install.ts";

const words = process.argv.slice(2);
const named = words.filter((word) => runtimes.some(({ name }) => name === word));
const chosen = runtimes.filter(({ name }) => named.length === 0 || named.includes(name));
const files = testFiles(words.filter((word) => !named.includes(word)));

installPackages();
await install(chosenStores().flatMap((store) => NEEDS[store] ?? []));

const jobs = files.flatMap((file) =>
  parts(file).flatMap((backend, at) =>
    runtimesFor(backend, at).map((runtime) => ({ file, runtime, backend }))
  )
);
const live = jobs.length === 1;
const total = { passed: 0, failed: 0, skipped: 0 };
const failed: string[] = [];
await runAll(jobs, async (job, seat) => {
  const { output, seconds, failures, ...counts } = await run({ ...job, seat }, live);
  if (counts.failed > 0) console.log(output);
  const mark = counts.failed > 0 ? "FAILED" : "ok    ";
  const on = job.backend === undefined ? "" : ` on ${job.backend}`;
  const done = `${mark} ${job.runtime.name.padEnd(4)} ${job.file}${on}: ${line(counts)} (${seconds} s)`;
  console.log(done);
  if (counts.failed > 0) failed.push([done, ...failures].join("\n  "));
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
});

console.log(`\n${[...failed, line(total)].join("\n")}`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;

/** What takes minutes and is the same for each backend runs apart for each: it ends sooner, and says what failed. */
function parts(file: string): (string | undefined)[] {
  return file === "tests/conformance_test.ts" ? Object.keys(backends) : [undefined];
}

/**
 * A whole run has another setting of a store, such as "redis-cluster", on one runtime, each in turn: the store
 * itself is on all of them, and what is particular to the setting has tests of its own there.
 */
function runtimesFor(backend: string | undefined, at: number): readonly Runtime[] {
  if (process.env.BACKENDS || !backend?.includes("-")) return chosen;
  return chosen.filter((_, index) => index === at % chosen.length);
}

function line({ passed, failed, skipped }: { passed: number; failed: number; skipped: number }): string {
  return `${passed} passed, ${failed} failed` + (skipped > 0 ? `, ${skipped} skipped` : "");
}
