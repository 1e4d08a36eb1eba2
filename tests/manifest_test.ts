/** The two manifests say the same: deno.json is what JSR publishes, package.json what Bun and Node run from. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { OLDEST } from "./runner/oldest.ts";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
}
interface DenoJson extends Manifest {
  readonly imports: Readonly<Record<string, string>>;
  readonly publish: { readonly include: readonly string[] };
}
interface PackageJson extends Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly engines: Readonly<Record<string, string>>;
}

const deno: DenoJson = JSON.parse(read("deno.json"));
const npm: PackageJson = JSON.parse(read("package.json"));
const entries = Object.entries(deno.exports);

test("name, version, licence and entry points are the same", () => {
  for (const field of ["name", "version", "license", "exports"] as const) {
    assert.deepEqual(npm[field], deno[field], field);
  }
});

test("the packages and their ranges are the same", () => {
  const ranges = Object.entries(npm.dependencies).map(([name, range]) => [name, `npm:${name}@${range}`]);
  assert.deepEqual(deno.imports, Object.fromEntries(ranges));
});

test("every entry point is there and is published", () => {
  for (const [name, file] of entries) {
    assert.ok(existsSync(path(file)), `${name}: no ${file}`);
    const published = deno.publish.include.some((part) => `${file}/`.startsWith(`./${part}/`));
    assert.ok(published, `${name}: ${file} is not in publish.include of deno.json`);
  }
});

test("every entry point is in the README, and the README names no other", () => {
  const named = new Set(read("README.md").match(/@holdfast\/lock(\/[a-z]+)*/g));
  const real = entries.map(([name]) => name.replace(/^\./, deno.name));
  assert.deepEqual([...named].sort(), real.sort());
});

test("the oldest version of each runtime is the same wherever it is promised, and is the one tested", () => {
  const { deno, bun, node } = OLDEST;
  const [text, refusal] = ["README.md", "backends/sqlite/database.ts"].map(read);
  assert.ok(
    text!.includes(`\nDeno ${deno.promised}, Bun ${bun.promised}, Node ${node.promised} or later.\n`),
  );
  assert.ok(
    refusal!.includes(`Deno ${deno.promised}, Bun ${bun.promised} or Node ${node.promised}, or later`),
  );
  assert.deepEqual(npm.engines, { bun: `>=${bun.promised}`, node: `>=${node.promised}` });
  for (const { promised, version } of [deno, bun, node]) {
    assert.ok(version.startsWith(`${promised}.`), `${version} is tested for ${promised}`);
  }
});

test("the lock file names no registry", () => {
  assert.doesNotMatch(read("package-lock.json"), /"resolved"|https?:\/\/[^"]*\.tgz/);
});

function path(file: string): string {
  return fileURLToPath(new URL(`../${file}`, import.meta.url));
}

function read(file: string): string {
  return readFileSync(path(file), "utf8");
}
