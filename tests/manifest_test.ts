/** The two manifests say the same: deno.json is what JSR publishes, package.json what Bun and Node run from. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import process from "node:process";
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
interface Lock {
  readonly packages: Readonly<
    Record<string, Partial<Record<"dependencies" | "optionalDependencies", Readonly<Record<string, string>>>>>
  >;
}

const deno: DenoJson = JSON.parse(read("deno.json"));
const npm: PackageJson = JSON.parse(read("package.json"));
const entries = Object.entries(deno.exports);

test("name, version, licence and entry points are the same", () => {
  for (const field of ["name", "version", "license", "exports"] as const) {
    assert.deepEqual(npm[field], deno[field], field);
  }
});

test("a tag that is published is the version, and the changelog tells of it", () => {
  const { GITHUB_REF_TYPE: type, GITHUB_REF_NAME: tag = "" } = process.env;
  const isTag = type === "tag" && tag.startsWith("v");
  assert.equal(isTag ? tag : `v${deno.version}`, `v${deno.version}`);
  assert.ok(read("CHANGELOG.md").includes(`\n## [${deno.version}]`));
});

test("the packages and their ranges are the same", () => {
  const ranges = Object.entries(npm.dependencies).map(([name, range]) => [name, `npm:${name}@${range}`]);
  assert.deepEqual(deno.imports, Object.fromEntries(ranges));
});

test("every entry point is there, says what it is, and is published", () => {
  for (const [name, file] of entries) {
    assert.ok(existsSync(path(file)), `${name}: no ${file}`);
    assert.match(
      read(file),
      /^(#!.*\n)?\/\*\*\n( \*.*\n)* \* @module\n \*\/\n/,
      `${file} begins with no module doc`,
    );
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
  const [text, refusal] = ["README.md", "backends/sqlite/client/database.ts"].map(read);
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

test("whoever runs on CI is named by a commit, and what may publish has no secret", () => {
  for (const file of readdirSync(path(".github/workflows"))) {
    const text = read(`.github/workflows/${file}`);
    for (const [, action] of text.matchAll(/\buses: (.*)/g)) {
      assert.match(action!, /^[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, file);
    }
    assert.doesNotMatch(text, /secrets\.|_TOKEN/, file);
  }
});

test("the lock file has every package that another one asks for, whatever the platform", () => {
  const { packages }: Lock = JSON.parse(read("package-lock.json"));
  for (const [path, { dependencies, optionalDependencies }] of Object.entries(packages)) {
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      // Beside it, or in a folder above.
      const folders = path.split(/(?:^|\/)node_modules\//).map((_, at, parts) => parts.slice(1, at + 1));
      const places = folders.map((parts) => [...parts, name].map((part) => `node_modules/${part}`).join("/"));
      assert.ok(places.some((place) => place in packages), `${path} asks for ${name}`);
    }
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
