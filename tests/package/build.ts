/**
 * Builds the npm package: `deno task npm` leaves it in `npm/`, ready for `npm publish ./npm`. Entry points,
 * versions and ranges are those of the project's manifests: there is nothing to keep in step here.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import type { TsdownBundle } from "tsdown";
import { installPackages, ROOT } from "../runner/packages.ts";

/** What npm reads, and what else is worth having beside the code. */
const DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE"];

/** What `holdfast` runs, in `dist/`. */
const PROGRAM = "cli.js";

/** What the package's manifest takes over from the project's as it is. */
const KEPT = ["name", "version", "description", "keywords", "license", "type", "engines"] as const;

/** The project's `package.json`, as far as it is about the package. */
interface Project extends Readonly<Record<typeof KEPT[number], unknown>> {
  /** Each entry point's module. */
  readonly exports: Readonly<Record<string, string>>;
  /** All that the package's modules import; ranges. */
  readonly dependencies: Readonly<Record<string, string>>;
  /** Which of them users install themselves, for what they have. */
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: true }>>;
}

const project: Project = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

/** Makes the package in a folder, which is emptied first. */
export async function buildPackage(folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const code = join(folder, "dist");
  const { build } = await import("tsdown"); // which need not be there before
  const { bundles: [built] } = await build({
    cwd: ROOT,
    config: false,
    tsconfig: false,
    checks: { bundlerTimings: false },
    logLevel: "warn",
    failOnWarn: true,
    entry: Object.fromEntries(Object.entries(project.exports).map(([entry, file]) => [nameOf(entry), file])),
    outDir: code,
    format: "esm",
    platform: "neutral",
    target: "esnext", // as written: what the oldest runtimes can do is all that is used
    fixedExtension: false,
    hash: false,
    sourcemap: true,
    dts: { generator: "oxc", sourcemap: false },
    deps: { neverBundle: true },
    // No module does anything by being imported alone. Types then import no client of whose types none is left.
    treeshake: { moduleSideEffects: false },
    outputOptions: {
      banner: ({ fileName }) => fileName === PROGRAM ? "#!/usr/bin/env node\n" : "",
      // What entry points share is named after the module that needs the rest of it. A chunk without one is of types
      // alone, and not written, or the bundler's own.
      chunkFileNames: ({ name, moduleIds }) => {
        const module = moduleIds.findLast((id) => id.startsWith(ROOT)) ?? join(ROOT, name);
        return `shared/${relative(ROOT, module).replace(/(\.d)?\.ts$/, "")}.js`;
      },
      // As if the sources lay beside the code: they are in the maps.
      sourcemapPathTransform: (source, map) =>
        relative(dirname(map), join(folder, "src", relative(ROOT, resolve(dirname(map), source)))),
    },
  });
  const needed = imported(built!.chunks);
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest(needed), null, 2)}\n`);
  for (const document of DOCUMENTS) copyFileSync(join(ROOT, document), join(folder, document));
}

/** What `package.json` of the package says; `needed` are the packages that its code imports. */
function manifest(needed: ReadonlySet<string>): Record<string, unknown> {
  const ranges = Object.entries(project.dependencies).filter(([name]) => needed.has(name));
  const own = ranges.filter(([name]) => !(name in project.peerDependenciesMeta));
  const peers = ranges.filter(([name]) => name in project.peerDependenciesMeta);
  const entries = Object.keys(project.exports);
  return {
    ...Object.fromEntries(KEPT.map((field) => [field, project[field]])),
    ...repository(),
    publishConfig: { access: "public" },
    sideEffects: false,
    files: ["dist", "CHANGELOG.md"],
    exports: {
      ...Object.fromEntries(entries.map((entry) => [entry, {
        types: `./dist/${nameOf(entry)}.d.ts`,
        default: `./dist/${nameOf(entry)}.js`,
      }])),
      "./package.json": "./package.json",
    },
    ...("./cli" in project.exports && { bin: { holdfast: `dist/${PROGRAM}` } }),
    dependencies: Object.fromEntries(own),
    peerDependencies: Object.fromEntries(peers),
    peerDependenciesMeta: Object.fromEntries(
      peers.map(([name]) => [name, project.peerDependenciesMeta[name]]),
    ),
  };
}

/** npm takes provenance only for the repository that the package names: on CI it is the one that publishes. */
function repository(): { repository?: { type: string; url: string } } {
  const { GITHUB_SERVER_URL: host, GITHUB_REPOSITORY: name } = process.env;
  return host && name ? { repository: { type: "git", url: `git+${host}/${name}.git` } } : {};
}

/** The packages that the code imports, each of which must be among the project's dependencies. */
function imported(chunks: TsdownBundle["chunks"]): Set<string> {
  const own = new Set(chunks.map(({ fileName }) => fileName));
  const names = chunks
    .flatMap((chunk) => chunk.type === "chunk" ? [...chunk.imports, ...chunk.dynamicImports] : [])
    .filter((name) => !own.has(name) && !name.startsWith("node:"))
    .map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)![0]);
  for (const name of names) {
    if (!(name in project.dependencies)) throw new Error(`"${name}" is not in dependencies of package.json`);
  }
  return new Set(names);
}

/** The name of an entry point's files. */
function nameOf(entry: string): string {
  return entry === "." ? "index" : entry.slice("./".length);
}

if (import.meta.main) {
  installPackages();
  await buildPackage(join(ROOT, "npm"));
}
