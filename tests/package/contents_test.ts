/** What is in the npm package, and what is not. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { publint } from "publint";
import { ROOT } from "../runner/packages.ts";
import { Installed } from "./installed.ts";

/** Bytes. The maps are most of it, for they have the sources in them. */
const LARGEST = { packed: 1_500_000, code: 1_500_000 };

let project: Installed;
/** What is packed: texts by their paths. */
let texts: Map<string, string>;
before(async () => {
  project = await Installed.make();
  texts = new Map(
    project.packed.files.map(({ path }) => [path, readFileSync(join(project.installed, path), "utf8")]),
  );
}, { timeout: 300_000 });
after(() => project?.[Symbol.dispose]());

test("publint finds nothing to improve", async () => {
  const { messages } = await publint({ pkgDir: project.installed, pack: false, strict: true });
  assert.deepEqual(messages, []);
});

test("there is code, its types and its maps, and what npm shows", () => {
  const documents = ["CHANGELOG.md", "LICENSE", "README.md", "package.json"];
  const others = [...texts.keys()].filter((path) => !/^dist\/.+\.(js|js\.map|d\.ts)$/.test(path));
  assert.deepEqual(others.sort(), documents);
  const tests = [...texts.keys()].filter((path) => /test/.test(path));
  assert.deepEqual(tests, []);
});

test("nothing names a path of the machine that built it", () => {
  const paths = [ROOT, dirname(project.folder)];
  for (const [path, text] of texts) {
    if (path.endsWith(".map")) continue; // the sources, word for word: see below
    for (const one of paths) assert.ok(!text.includes(one), `${path} names ${one}`);
  }
});

test("the maps have the sources in them, each once", () => {
  const seen = new Set<string>();
  for (const path of texts.keys()) {
    for (const source of sources(path)) {
      assert.ok(existsSync(join(ROOT, source)), `${path}: ${source}`);
      // A class that is in two files of a package is two classes.
      assert.ok(!seen.has(source), `${source} is in two files of the package`);
      seen.add(source);
    }
  }
  assert.ok(seen.has("mod.ts") && seen.has("internal/errors.ts"));
});

test("the main entry point loads the core, no package, nothing of Node's, and a backend only when it is used", () => {
  const { files, packages } = project.loaded("dist/index.js");
  assert.deepEqual([...packages], []);
  const modules = [...files].flatMap((path) => sources(path));
  assert.ok(modules.includes("mod.ts") && modules.includes("internal/manager.ts"));
  const others = modules.filter((module) =>
    !/^(mod|internal\/.+|backends\/sqlite\/traits)\.ts$/.test(module)
  );
  assert.deepEqual(others, []);
  const [later] = [...files].flatMap((path) => /\bimport\("(.+)"\)/.exec(texts.get(path)!)?.[1] ?? []);
  assert.match(later!, /\/sqlite\.js$/);
});

test("what it depends on is what the project depends on; clients of stores are optional", () => {
  const project = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const packed = JSON.parse(texts.get("package.json")!);
  assert.deepEqual({ ...packed.dependencies, ...packed.peerDependencies }, project.dependencies);
  assert.deepEqual(packed.peerDependenciesMeta, project.peerDependenciesMeta);
  assert.deepEqual(Object.keys(packed.peerDependencies), Object.keys(packed.peerDependenciesMeta));
  assert.ok(!("private" in packed) && !("devDependencies" in packed));
});

test("its size is sane", () => {
  const code = project.packed.files.filter(({ path }) => path.endsWith(".js"));
  const bytes = code.reduce((sum, { size }) => sum + size, 0);
  assert.ok(bytes < LARGEST.code, `${bytes} bytes of code`);
  assert.ok(project.packed.size < LARGEST.packed, `${project.packed.size} bytes, packed`);
});

/** The modules whose code a file has, by its map. */
function sources(path: string): string[] {
  const map = texts.get(`${path}.map`);
  if (map === undefined) return [];
  const { sources, sourcesContent }: { sources: string[]; sourcesContent: string[] } = JSON.parse(map);
  return sources.map((source, at) => {
    const [, module] = /^src\/(.+\.ts|deno\.json)$/.exec(join(dirname(path), source)) ?? [];
    assert.ok(module !== undefined, `${path}: ${source}`);
    assert.ok(sourcesContent[at] || module === "deno.json", `${path}: no text of ${module}`);
    return module;
  });
}
