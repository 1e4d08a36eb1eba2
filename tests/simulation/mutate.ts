import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Edit, Mutant } from "./mutants.ts";

/** How a mutant was found. */
export interface Finding {
  readonly seed: number | undefined;
  readonly promise: string | undefined;
  /** How many schedules that took. */
  readonly schedules: number;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** The mutants are tried on Deno, whatever this runs on. */
const DENO = "Deno" in globalThis ? process.execPath : "deno";
/** All that the simulation imports. */
const PARTS = ["mod.ts", "deno.json", "package.json", "internal", "backends", "tests/simulation"];

/** Runs the simulation over a copy of the sources that has one more bug. */
export async function hunt(mutant: Mutant, count: number, ms: number): Promise<Finding> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-mutant-"));
  try {
    for (const part of PARTS) await cp(join(ROOT, part), join(folder, part), { recursive: true });
    for (const edit of [mutant, ...mutant.also ?? []]) await apply(mutant.name, edit, folder);
    return await simulate(folder, { first: mutant.from ?? 1, count, ms });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A mutant whose place has changed must be written anew, not pass as found or as harmless. */
async function apply(name: string, { file, find, replace }: Edit, folder: string): Promise<void> {
  const path = join(folder, file);
  const source = await readFile(path, "utf8");
  const places = source.split(find).length - 1;
  if (places !== 1) {
    throw new Error(
      `Cannot apply the mutant "${name}": expected its text once in ${file}, found it ${places} times`,
    );
  }
  await writeFile(path, source.replace(find, () => replace));
}

async function simulate(
  folder: string,
  { first, count, ms }: { readonly first: number; readonly count: number; readonly ms: number },
): Promise<Finding> {
  const main = join(folder, "tests/simulation/main.ts");
  const flags = ["run", "--no-check", "--no-remote", "--allow-all", "--config", join(folder, "deno.json")];
  // It ends by itself before it is killed, unless it hangs: then that is the finding.
  const limits = ["--seed", `${first}`, "--count", `${count}`, "--seconds", `${0.8 * ms / 1_000}`];
  const child = spawn(DENO, [...flags, main, "--json", ...limits], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: ms,
    killSignal: "SIGKILL",
  });
  let said = "";
  let complaint = "";
  child.stdout!.on("data", (chunk) => said += chunk);
  child.stderr!.on("data", (chunk) => complaint += chunk);
  const signal = await new Promise((resolve) => child.once("close", (_code, signal) => resolve(signal)));
  if (signal !== null) return { seed: NaN, promise: "the run comes to an end", schedules: NaN };
  try {
    const { failed, promise, schedules } = JSON.parse(said);
    return { seed: failed, promise, schedules };
  } catch {
    throw new Error(`Cannot read what the simulation says: ${said}${complaint}`);
  }
}
