/**
 * The oldest version that is promised of the runtime that this test runs on: all entry points load, the
 * README's first example works, and the conformance suite passes on what needs no server.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { chosenStores } from "./runner/files.ts";
import { lacking, OLDEST, oldest } from "./runner/oldest.ts";
import { ROOT } from "./runner/packages.ts";
import { run as runFile } from "./runner/run.ts";
import { runtimes } from "./runner/runtimes.ts";
import { run } from "./servers/process.ts";
import { thisRuntime } from "./servers/script.ts";

const { version } = OLDEST[thisRuntime];
const runtime = runtimes.find(({ name }) => name === thisRuntime)!;
const missing = lacking(thisRuntime);

/** How a runtime is told to run a text as a module. */
const EVALUATE = { deno: ["eval"], bun: ["-e"], node: ["--input-type=module", "-e"] };

test(`${thisRuntime} ${version} loads every entry point`, options(), async () => {
  const binary = await oldest(thisRuntime);
  const said = await run(binary, ["--version"]);
  assert.ok(said.includes(version), said);
  const { name, exports }: { name: string; exports: object } = JSON.parse(read("deno.json"));
  const entries = Object.keys(exports).map((entry) => entry.replace(/^\./, name));
  const each = entries.map((entry) => `console.log(Object.keys(await import("${entry}")).length > 0);`);
  assert.equal(await evaluate(binary, each.join("\n")), "true\n".repeat(entries.length));
});

test(`${thisRuntime} ${version} runs the quick start of the README`, options("sqlite"), async () => {
  const binary = await oldest(thisRuntime);
  const [, example] = /```ts\n([^]*?)```/.exec(read("README.md"))!;
  const output = await evaluate(
    binary,
    `import "./tests/runner/example_hosts.ts";
    ${example}
    console.log(lock.held, lock.token > 0n, await lock.release(), lock.held);`,
  );
  assert.equal(output, "200\ntrue true true false\n");
});

for (const backend of ["memory", "sqlite"]) {
  test(`${thisRuntime} ${version} passes the conformance suite on ${backend}`, options(backend), async () => {
    const oldestRuntime = { ...runtime, binary: await oldest(thisRuntime) };
    const job = { runtime: oldestRuntime, file: "tests/conformance_test.ts", backend, limit: 180_000 };
    const { passed, failed, failures, output } = await runFile(job, false);
    assert.ok(
      failed === 0 && passed > 0,
      [`${passed} passed, ${failed} failed`, ...failures, output].join("\n"),
    );
  });
}

/** Left out where the version cannot be had, or the run is about other stores. */
function options(store?: string): { skip: string | false; timeout: number } {
  const unwanted = store !== undefined && !chosenStores().includes(store);
  return { skip: missing ?? (unwanted && `${store} is not among BACKENDS`), timeout: 400_000 };
}

/** Runs a text as a module of this package, with a lock file of its own; resolves with what it prints. */
async function evaluate(binary: string, text: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-oldest-"));
  try {
    const env = { HOLDFAST_DB: join(folder, "locks.db"), NO_COLOR: "1" };
    return await run(binary, [...EVALUATE[thisRuntime], text], { cwd: ROOT, env, timeout: 240_000 });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function read(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}
