/** Cycles, cancelled waits, losses and a watch, in a process that has to end by itself: nothing stays behind. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Address } from "../faults/address.ts";
import { stores } from "../faults/grounds.ts";
import { chosenStores } from "../runner/files.ts";
import { runtimes } from "../runner/runtimes.ts";
import { until } from "../servers/process.ts";
import { thisRuntime } from "../servers/script.ts";
import { remains } from "./remains.ts";
import type { Usage } from "./worker.ts";

/** Bytes: 10 000 cycles that leave 300 bytes each are seen. */
const GROWTH = 3_000_000;
const here = runtimes.findIndex(({ name }) => name === thisRuntime);

for (const [turn, store] of stores.entries()) {
  if (!chosenStores().includes(store.name)) continue;
  // What stays on the heap is the code's fault and not the runtime's: a third of the stores on each.
  const cycles = turn % runtimes.length === here ? 10_000 : 1_000;
  test(`${store.name}: ${cycles} cycles leave nothing behind`, { timeout: 300_000 }, async () => {
    await using ground = await store.shared();
    const { before, after } = await work(ground.address, cycles);
    assert.ok(after - before < GROWTH, `the heap grew from ${before} to ${after} bytes`);
    let left: string[] = [];
    const isNothing = async () => (left = await remains(ground.address)).length === 0;
    // A server may notice a moment late that a connection has ended.
    await until(isNothing, () => left.join(), 10_000);
  });
}

/** Resolves once the process has ended by itself. */
function work(address: Address, cycles: number): Promise<Usage> {
  const flags = "Deno" in globalThis
    ? ["run", "-A", "--no-check", "--quiet", "--v8-flags=--expose-gc"]
    : "Bun" in globalThis
    ? []
    : ["--expose-gc"];
  const file = fileURLToPath(new URL("./worker.ts", import.meta.url));
  const child = spawn(process.execPath, [...flags, file, JSON.stringify(address), `${cycles}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    let text = "";
    let lingering: ReturnType<typeof setTimeout>;
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (!text.endsWith("\n")) return;
      lingering = setTimeout(() => {
        child.kill("SIGKILL");
        reject(new Error("The process did not end by itself within 15 s of its last word"));
      }, 15_000);
    });
    child.on("close", (code, signal) => {
      clearTimeout(lingering);
      if (code === 0) resolve(JSON.parse(text));
      else reject(new Error(`The process ended with ${signal ?? `status ${code}`}`));
    });
  });
}
