/**
 * The real core over a simulated store in virtual time, everything from one seed.
 *
 *     deno task sim                      3 000 fixed seeds
 *     deno task sim --fresh --count 1000 seeds nobody has tried
 *     deno task sim --seconds 60         as many as fit
 *     deno task sim --seed 42            one of them, with its history
 *     deno task sim --mutants            which plausible bugs it finds, and how soon
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { explain } from "./explain.ts";
import { mutants } from "./mutants.ts";
import { hunt } from "./mutate.ts";
import { search } from "./search.ts";

const { values: options } = parseArgs({
  options: {
    seed: { type: "string" },
    count: { type: "string" },
    seconds: { type: "string" },
    fresh: { type: "boolean", default: false },
    whole: { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});

/** How long a failure is made shorter, in milliseconds. */
const SHRINK = 20_000;

if (options.mutants) process.exitCode = await hunting(Number(options.count ?? 30_000));
else if (options.seed !== undefined && options.count === undefined && options.seconds === undefined) {
  console.log(await explain(Number(options.seed), options.whole ? 0 : SHRINK));
} else process.exitCode = await searching();

async function searching(): Promise<number> {
  const first = options.fresh ? Date.now() % 1e9 * 1_000 : Number(options.seed ?? 1);
  const count = Number(options.count ?? (options.seconds === undefined ? 3_000 : Infinity));
  const began = performance.now();
  const summary = await search(first, count, Number(options.seconds ?? Infinity) * 1_000);
  if (options.json) {
    console.log(JSON.stringify(summary));
    return 0;
  }
  const { schedules, failed, time, writes, tally } = summary;
  const seconds = (performance.now() - began) / 1_000;
  if (failed !== undefined) console.log(await explain(failed, SHRINK));
  console.log(
    `${schedules} schedules from seed ${first} in ${seconds.toFixed(1)} s ` +
      `(${Math.round(schedules / seconds * 60)} a minute), ${(time / 3_600_000).toFixed(1)} virtual hours`,
  );
  console.log(`operations: ${[...tally].map(([end, times]) => `${times} ${end}`).join(", ")}`);
  console.log(`writes: ${writes.accepted} accepted, ${writes.refused} stale ones refused`);
  console.log(failed === undefined ? "every promise held" : `seed ${failed} failed`);
  return failed === undefined ? 0 : 1;
}

async function hunting(count: number): Promise<number> {
  const wanted = mutants.filter(({ name }) => name.includes(options.only));
  const width = Math.max(...wanted.map(({ name }) => name.length));
  let missed = 0;
  console.log(`${"mutant".padEnd(width)}  ${"seed".padStart(5)}  ${"after".padStart(5)}  broken promise`);
  for (const mutant of wanted) {
    const { seed, promise, schedules } = await hunt(mutant, count, 240_000);
    if (seed === undefined) missed++;
    const row = [`${seed ?? "-"}`.padStart(5), `${schedules}`.padStart(5), promise ?? "NOT FOUND"];
    console.log([mutant.name.padEnd(width), ...row].join("  "));
  }
  console.log(missed === 0 ? `all ${wanted.length} found` : `${missed} of ${wanted.length} not found`);
  return missed === 0 ? 0 : 1;
}
