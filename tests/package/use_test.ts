/** The npm package in the hands of its users: run, checked by TypeScript, bundled. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ROOT } from "../runner/packages.ts";
import { thisRuntime } from "../servers/script.ts";
import { Installed } from "./installed.ts";

const manifest = JSON.parse(read("package.json"));
const name: string = manifest.name;
/** The names by which the entry points are imported. */
const entries = Object.keys(manifest.exports).map((entry) => entry.replace(/^\./, name));
/** What users install themselves, for what they have. */
const OPTIONAL = Object.keys(manifest.peerDependenciesMeta);

/** Two kinds of programs; one that knows neither Node's types nor the DOM's has no `AbortSignal`. */
const PROGRAMS = {
  "a program for Node": { module: "nodenext", lib: [], types: ["node"] },
  "a program for browsers": { module: "esnext", moduleResolution: "bundler", lib: ["dom"], types: [] },
};

let project: Installed;
before(async () => {
  project = await Installed.make();
}, { timeout: 300_000 });
after(() => project?.[Symbol.dispose]());

test("nothing optional is installed with it", () => {
  const folder = join(project.folder, "node_modules");
  assert.ok(existsSync(join(folder, name)));
  assert.deepEqual(OPTIONAL.filter((name) => existsSync(join(folder, name))), []);
});

test(`${thisRuntime} runs the quick start of the README`, async () => {
  assert.equal(await project.run(quickStart()), "200\ntrue true true false\n");
});

test(`${thisRuntime} loads every entry point, once the package that it is about is installed`, async () => {
  const load = entries.map((entry) => `
    console.log(await import("${entry}").then((all) => Object.keys(all).length > 0, (error) => error.message));
  `).join("");
  const answers = (await project.run(load)).trimEnd().split("\n");
  assert.equal(answers.length, entries.length);
  for (const [at, entry] of entries.entries()) {
    const missing = optional(entry);
    if (missing.length === 0) assert.equal(answers[at], "true", entry);
    else assert.ok(missing.some((name) => answers[at]!.includes(name)), `${entry}: ${answers[at]}`);
    for (const name of missing) project.link(name);
  }
  assert.equal(await project.run(load), "true\n".repeat(entries.length));
});

test(`${thisRuntime}: a store whose client is not installed says at once what to install`, async () => {
  const output = await project.run(`
    import { BackendError, LockManager } from "@holdfast/lock";
    import { postgres } from "@holdfast/lock/postgres";
    import { redis } from "@holdfast/lock/redis";
    const url = "redis://127.0.0.1:1";
    for (const backend of [redis(url), redis({ cluster: [url] }), postgres("postgres://a@127.0.0.1:1/b")]) {
      await using locks = new LockManager(backend);
      const error = await locks.acquire("k").catch((error: unknown) => error);
      const isOurs = error instanceof BackendError;
      console.log(isOurs, isOurs && error.retryable, /npm install .*?(?=,)/.exec(String(error))?.[0]);
    }
  `);
  const said = ["ioredis", "ioredis", "postgres"].map((name) =>
    `true false npm install @holdfast/lock ${name}\n`
  );
  assert.equal(output, said.join(""));
});

test("`holdfast doctor` says what to install, and nothing of a store that it could not ask", async () => {
  const urls = [
    "redis://127.0.0.1:1",
    "redis+cluster://127.0.0.1:1",
    "redlock://127.0.0.1:1",
    "postgres://a@127.0.0.1:1",
  ];
  for (const url of urls) {
    await assert.rejects(project.program(["doctor", "--store", url]), (error: Error) => {
      const missing = url.startsWith("postgres") ? "postgres" : "ioredis";
      assert.match(error.message, RegExp(`npx -p @holdfast/lock -p ${missing} holdfast`));
      assert.equal((error.cause as { code?: unknown }).code, 69, "the store is away, and not unsafe");
      return true;
    });
  }
});

test("`holdfast` runs a command under a lock", async () => {
  assert.equal(await project.program(["--version"]), `${manifest.version}\n`);
  const command = ["sh", "-c", 'echo "$HOLDFAST_KEY $((HOLDFAST_TOKEN > 0))"'];
  assert.equal(await project.program(["run", "invoice:42", "--", ...command]), "invoice:42 1\n");
});

for (const [program, { lib, types, ...settings }] of Object.entries(PROGRAMS)) {
  test(`TypeScript finds nothing amiss in ${program}`, { timeout: 120_000 }, async () => {
    const consumer = read("tests/types/consumer.ts").replaceAll(
      /"\.\.\/\.\.\/(?:backends\/)?(\w+)\.ts"/g,
      (_, entry) => entry === "mod" ? `"${name}"` : `"${name}/${entry}"`,
    );
    assert.doesNotMatch(consumer, /"\.\.?\//);
    project.write("consumer.ts", consumer);
    for (const name of entries.flatMap(optional)) project.link(name);
    project.write("entries.ts", entries.map((entry, at) => `export * as e${at} from "${entry}";`).join("\n"));
    const compilerOptions = {
      strict: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noUncheckedSideEffectImports: true,
      noEmit: true,
      target: "es2024",
      lib: ["es2024", "esnext.disposable", ...lib],
      typeRoots: [join(ROOT, "node_modules/@types")],
      types,
      ...settings,
    };
    project.write("tsconfig.json", JSON.stringify({ compilerOptions, files: ["consumer.ts", "entries.ts"] }));
    assert.equal(await project.tool("tsc", ["--project", "."]), "");
  });
}

test("the core and memory() bundle for browsers, and need nothing else there", async () => {
  project.write("page.js", `export * from "@holdfast/lock"; export * from "@holdfast/lock/memory";`);
  assert.deepEqual(await bundle("page.js", ["--platform=browser"]), []);
});

test("what is imported and not used is not bundled", async () => {
  project.write("unused.js", entries.map((entry, at) => `import * as e${at} from "${entry}";`).join("\n"));
  await bundle("unused.js", ["--platform=node", ...OPTIONAL.map((name) => `--external:${name}`)]);
  assert.equal(readFileSync(join(project.folder, "bundle.js"), "utf8"), "");
});

test(`${thisRuntime} runs the quick start as a bundle`, async () => {
  project.write("bundled.ts", quickStart());
  const imported = await bundle("bundled.ts", ["--platform=node", "--target=node24"]);
  assert.deepEqual(imported, []);
  assert.equal(await project.runFile("bundle.js"), "200\ntrue true true false\n");
});

test(`${thisRuntime}: a bundle prints nothing of its own accord`, async () => {
  project.write(
    "quiet.ts",
    `import { postgres } from "@holdfast/lock/postgres"; console.log(typeof postgres);`,
  );
  await bundle("quiet.ts", ["--platform=node", ...OPTIONAL.map((name) => `--external:${name}`)]);
  assert.equal(await project.runFile("bundle.js"), "function\n");
});

/** The optional packages that an entry point cannot be loaded without: it is about them. */
function optional(entry: string): string[] {
  const { packages } = project.loaded(`dist/${entry.slice(name.length + 1) || "index"}.js`);
  return OPTIONAL.filter((name) => packages.has(name));
}

/** Bundles into `bundle.js`, without a warning; resolves with what the bundle imports. */
async function bundle(file: string, options: readonly string[]): Promise<string[]> {
  const all = [
    file,
    "--bundle",
    "--format=esm",
    "--log-level=info",
    "--log-override:ignored-bare-import=silent",
  ];
  const said = await project.tool("esbuild", [
    ...all,
    "--outfile=bundle.js",
    "--metafile=meta.json",
    ...options,
  ]);
  assert.doesNotMatch(said, /warning/i);
  const meta: { outputs: Record<string, { imports: { path: string }[] }> } = JSON.parse(
    readFileSync(join(project.folder, "meta.json"), "utf8"),
  );
  return Object.values(meta.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
}

/** The README's first example, which then says what became of its lock. */
function quickStart(): string {
  project.write("example_hosts.ts", read("tests/runner/example_hosts.ts"));
  const [, example] = /```ts\n([^]*?)```/.exec(read("README.md"))!;
  return `import "./example_hosts.ts";
    ${example}
    console.log(lock.held, lock.token > 0n, await lock.release(), lock.held);`;
}

function read(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}
