/** What `import "@holdfast/lock"` costs: whole processes, in turns with one that imports an empty module. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Figure, median } from "./figures.ts";

const ROUNDS = 15;

/** Milliseconds over the empty module, the median of pairs. */
export function run(): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  try {
    const empty = join(folder, "empty.ts");
    const full = join(folder, "full.ts");
    writeFileSync(empty, "export {};\n");
    writeFileSync(full, `import ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};\n`);
    const over: number[] = [];
    for (let round = -2; round < ROUNDS; round++) {
      const difference = time(full) - time(empty);
      if (round >= 0) over.push(difference);
    }
    return Promise.resolve([{
      what: "import: mod.ts over an empty module",
      value: median(over),
      unit: "ms",
      bound: { most: 30 },
    }]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function time(file: string): number {
  const args = "Deno" in globalThis ? ["run", "-A", "--no-check", "--quiet", file] : [file];
  const started = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`The process failed: ${stderr}`);
  return performance.now() - started;
}
