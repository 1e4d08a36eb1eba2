/** Those who bundle the page under test, each as its users call it. */
import { fileURLToPath } from "node:url";
import { BIN, ROOT } from "../runner/packages.ts";
import { run } from "../servers/process.ts";
import type { RuntimeName } from "../servers/script.ts";

/** A program that bundles. */
export interface Bundler {
  readonly name: string;
  /** The runtime whose tests try it. */
  readonly runtime: RuntimeName;
  /** What it is given, each in a run of its own: what one entry needs, Bun leaves in all of a run. */
  readonly entries: readonly string[];
  /** Its binary and arguments, for what is to lie in the folder. */
  command(entry: string, folder: string): readonly string[];
  /** The lines in which it tells nothing that is amiss. */
  readonly says: RegExp;
}

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const SCRIPTS = ["page", "worker", "keeper"].map((name) => `${FOLDER}${name}.ts`);

/** All that the package promises to work with. */
export const bundlers: readonly Bundler[] = [
  {
    name: "deno bundle",
    runtime: "deno",
    entries: SCRIPTS,
    command: (entry, to) => ["deno", "bundle", "--platform", "browser", "--outdir", to, entry],
    says: /^(\S+\s+deno bundle is experimental .*|Download .*|Bundled \d+ modules .*|\s+\S+\.js .*)$/,
  },
  {
    name: "bun build",
    runtime: "bun",
    entries: SCRIPTS,
    command: (entry, to) => [`${BIN}/bun`, "build", "--target=browser", "--outdir", to, entry],
    says: /^(Bundled \d+ modules .*|\s+\S+\.js .*)$/,
  },
  {
    name: "esbuild",
    runtime: "node",
    entries: SCRIPTS,
    command: (entry, to) => {
      return [`${BIN}/esbuild`, "--bundle", "--format=esm", "--log-level=warning", `--outdir=${to}`, entry];
    },
    says: /^$/,
  },
  {
    name: "vite",
    runtime: "node",
    entries: [FOLDER], // its page names the rest
    command: (entry, to) => {
      const options = ["--logLevel=warn", "--base=./", "--emptyOutDir", `--outDir=${to}`];
      return [`${BIN}/node`, `${ROOT}/node_modules/vite/bin/vite.js`, "build", entry, ...options];
    },
    says: /^$/,
  },
];

/** Bundles into the folder; resolves with what was said that may be a warning. */
export async function bundle({ entries, command, says }: Bundler, folder: string): Promise<string[]> {
  const said = await Promise.all(entries.map(async (entry) => {
    const all = ["-c", 'exec "$@" 2>&1', "sh", ...command(entry, folder)];
    return await run("sh", all, { cwd: ROOT, env: { NO_COLOR: "1" }, timeout: 120_000 });
  }));
  return said.join("\n").split("\n").filter((line) => line !== "" && !says.test(line));
}
