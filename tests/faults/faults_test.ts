/**
 * The fault matrix, a third of it on each runtime: the test itself and the holder run on the same one.
 * `deno task faults` tries all of it and prints the table.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { chosenStores } from "../runner/files.ts";
import { runtimes } from "../runner/runtimes.ts";
import { stores } from "./grounds.ts";
import { applicable, run } from "./matrix.ts";

const here = "Deno" in globalThis ? 0 : "Bun" in globalThis ? 1 : 2;
const runtime = { ...runtimes[here]!, binary: process.execPath };

for (const [turn, store] of stores.entries()) {
  if (!chosenStores().includes(store.name)) continue;
  const faults = applicable(store).filter((_, index) => (index + turn) % runtimes.length === here);
  test(`${store.name}: ${faults.map(({ name }) => name).join(", ")}`, { timeout: 300_000 }, async () => {
    const results = await run(store, faults.map((fault) => ({ fault, runtime })));
    assert.equal(results.length, faults.length);
    const failures = results.filter((result) => "error" in result);
    const reasons = failures.map(({ fault, error }) =>
      `${fault}: ${error instanceof Error ? error.stack : error}`
    );
    assert.equal(failures.length, 0, reasons.join("\n"));
  });
}
