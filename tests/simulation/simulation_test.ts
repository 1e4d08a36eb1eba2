/** The simulation on a fixed set of seeds, and on some that nobody has tried. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { explain } from "./explain.ts";
import { mutants } from "./mutants.ts";
import { hunt } from "./mutate.ts";
import { run } from "./run.ts";
import { schedule } from "./schedule.ts";
import { search } from "./search.ts";

/** The whole of it runs on one runtime; the others see that they do the same. */
const whole = "Deno" in globalThis;
const [FIXED, FRESH] = whole ? [3_000, 1_000] : [300, 50];

/** Seeds that have found a bug, here or in a mutant that brings it back. */
const REGRESSIONS = [
  ...[20, 175, 182, 291, 755, 760, 862, 1_176, 1_559, 2_026, 2_506, 3_416],
  ...[100_752, 203_097],
];

async function hold(first: number, count: number): Promise<void> {
  const { failed } = await search(first, count);
  if (failed !== undefined) assert.fail(await explain(failed, 20_000));
}

describe("the real core over a simulated store", () => {
  test(`keeps every promise on ${FIXED} fixed seeds`, { timeout: 300_000 }, () => hold(1, FIXED));

  test("keeps every promise on the seeds that have found a bug", { timeout: 60_000 }, async () => {
    for (const seed of REGRESSIONS) await hold(seed, 1);
  });

  test(`keeps every promise on ${FRESH} seeds nobody has tried`, { timeout: 120_000 }, async () => {
    await hold(Date.now() % 1e9 * 1_000, FRESH);
  });

  test("does the same again for the same seed", { timeout: 60_000 }, async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const [once, again] = [await run(schedule(seed), true), await run(schedule(seed), true)];
      assert.deepEqual(once.history, again.history);
      assert.ok(once.history.length > 10);
    }
  });
});

describe("mutants", () => {
  // Goes red if: the sources move on and a mutant no longer changes them.
  test("each still finds its place", async () => {
    for (const { name, also = [], ...edit } of mutants) {
      for (const { file, find } of [edit, ...also]) {
        const source = await readFile(new URL(`../../${file}`, import.meta.url), "utf8");
        assert.equal(source.split(find).length, 2, `"${name}" in ${file}`);
      }
    }
    assert.ok(mutants.length >= 15);
  });

  test("some are found at once", { timeout: 120_000 }, async () => {
    for (const mutant of mutants.filter(({ name }) => /^(renewal moved|release by|no look)/.test(name))) {
      const { seed, promise } = await hunt(mutant, 100, 60_000);
      assert.ok(seed !== undefined && promise !== undefined, mutant.name);
    }
  });
});
