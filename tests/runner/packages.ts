/** Installs the npm packages that the tests need, Bun and Node 24 among them. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "");

/** Where npm puts the packages' programs. */
export const BIN: string = `${ROOT}/node_modules/.bin`;

/** Runs `npm ci` unless what is installed is what the lock file says. */
export function installPackages(): void {
  if (installed()) return;
  console.log("Installing the npm packages ...");
  try {
    execFileSync(process.platform === "win32" ? "npm.cmd" : "npm", [
      "ci",
      "--no-audit",
      "--no-fund",
      "--loglevel=error",
    ], {
      cwd: ROOT,
      stdio: ["ignore", "ignore", "inherit"],
    });
  } catch (cause) {
    throw new Error("Cannot install the npm packages: `npm ci` failed, see above", { cause });
  }
}

/** What npm writes in both of its lock files. */
interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly optional?: boolean }>>;
}

function installed(): boolean {
  const wanted = read("package-lock.json")?.packages ?? {};
  const present = read("node_modules/.package-lock.json")?.packages ?? {};
  return existsSync(BIN) &&
    Object.entries(wanted).every(([path, { version, optional }]) =>
      path === "" || optional || present[path]?.version === version // optional: for other platforms
    );
}

function read(file: string): Lock | undefined {
  const path = `${ROOT}/${file}`;
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}
