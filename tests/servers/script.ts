/** How a script is run in a process of its own, on the runtime that this one runs on or on another. */
import { fileURLToPath } from "node:url";
import process from "node:process";

/** A runtime by name; with the runner, all three are on the PATH. */
export type RuntimeName = "deno" | "bun" | "node";

/** The runtime of this process. */
export const thisRuntime: RuntimeName = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";

/** What to spawn: `spawn(...script(new URL("./worker.ts", import.meta.url), ["key"]))`. */
export function script(
  file: URL,
  args: readonly string[] = [],
  runtime: RuntimeName = thisRuntime,
): [binary: string, args: string[]] {
  const binary = runtime === thisRuntime ? process.execPath : runtime;
  const flags = runtime === "deno"
    ? ["run", "-A", "--no-check", "--quiet"]
    : runtime === "node"
    ? ["--disable-warning=ExperimentalWarning"]
    : [];
  return [binary, [...flags, fileURLToPath(file), ...args]];
}
