import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RuntimeName, RUNTIMES } from "../harness/runner.ts";
import type { Series } from "../harness/report.ts";
import { distribution } from "../harness/statistics.ts";

const ROUNDS = 15;

/**
 * What `import "@holdfast/lock"` takes, by whole processes: in turns with those that import an empty module. On Deno,
 * which is given the sources as they are here; Node is given one file.
 */
export function importing(): Series {
  const runtime = "deno";
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  try {
    const empty = join(folder, "empty.ts");
    const full = join(folder, "full.ts");
    writeFileSync(empty, "export {};\n");
    writeFileSync(full, `import ${JSON.stringify(new URL("../../mod.ts", import.meta.url).href)};\n`);
    const over: number[] = [];
    for (let round = -2; round < ROUNDS; round++) {
      const difference = time(runtime, full) - time(runtime, empty);
      if (round >= 0) over.push(difference);
    }
    return {
      scenario: "import",
      store: "core",
      network: "loopback",
      runtime,
      subject: "Holdfast",
      kind: "ours",
      times: distribution([over]),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function time(runtime: RuntimeName, file: string): number {
  const { binary, args } = RUNTIMES[runtime]([file]);
  const started = performance.now();
  const { status, stderr } = spawnSync(binary, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`The process failed: ${stderr}`);
  return performance.now() - started;
}
