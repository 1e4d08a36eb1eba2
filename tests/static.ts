/**
 * The gate's part that runs no test: format, lint, types, documentation and its examples, publishing.
 * Examples that name a store at its usual port get a real one there.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { installPackages, ROOT } from "./runner/packages.ts";
import { ConsulServer } from "./servers/consul.ts";
import { EtcdServer } from "./servers/etcd.ts";
import { install, NEEDS } from "./servers/install.ts";
import { HOST } from "./servers/process.ts";
import { PostgresServer } from "./servers/postgres.ts";
import { RedisServer } from "./servers/redis.ts";
import { ZooKeeperServer } from "./servers/zookeeper.ts";

/** The stores' usual ports. */
const STORES: readonly (readonly [number, (port: number) => Promise<AsyncDisposable>])[] = [
  [6379, (port) => RedisServer.start({ port })],
  [2379, (port) => EtcdServer.start({ port })],
  [2181, (port) => ZooKeeperServer.start({ port })],
  [8500, (port) => ConsulServer.start({ port })],
  [5432, postgres],
];

const manifest: { exports: Record<string, string> } = JSON.parse(readFileSync(`${ROOT}/deno.json`, "utf8"));
const entries = [...new Set(Object.values(manifest.exports))];

installPackages();
await install(Object.values(NEEDS).flat());
const failed = [
  await step("format", ["fmt", "--check"]),
  await step("lint", ["lint"]),
  await step("types", ["check", "."]),
  await withoutDom(),
  await step("documentation", ["doc", "--lint", ...entries]),
  await examples(),
  await step("publishing", ["publish", "--dry-run", "--allow-dirty"], {}, /warning/i),
].filter((passed) => !passed).length;
process.exit(failed > 0 ? 1 : 0);

/** With what the examples take for granted. */
async function postgres(port: number): Promise<PostgresServer> {
  const server = await PostgresServer.start({ port, args: ["-c", "fsync=off"] });
  await server.sql("CREATE ROLE app LOGIN");
  await server.sql("CREATE DATABASE app OWNER app");
  await server.sql("CREATE TABLE invoices (id int, paid boolean); GRANT ALL ON invoices TO app", "app");
  return server;
}

/** Runs the examples of every entry point's documentation, of the README, and of how to write a backend. */
async function examples(): Promise<boolean> {
  await using servers = new AsyncDisposableStack();
  for (const [port, start] of STORES) if (!await listens(port)) servers.use(await start(port));
  const folder = mkdtempSync(join(tmpdir(), "holdfast-examples-"));
  servers.defer(() => rmSync(folder, { recursive: true }));
  const preload = "--preload=tests/runner/example_hosts.ts";
  const args = [
    "test",
    "--doc",
    "-A",
    preload,
    "README.md",
    "tests/conformance/README.md",
    ...entries,
    "internal/fence",
  ];
  return await step("examples", args, { HOLDFAST_DB: join(folder, "locks.db") });
}

/** The types again, as who has no types of the DOM sees them. Deno looks for packages beside its configuration. */
async function withoutDom(): Promise<boolean> {
  const path = join(ROOT, `.without_dom_${process.pid}`);
  const lib = ["es2024", "esnext.disposable", "esnext.collection", "esnext.array"];
  const compilerOptions = { strict: true, lib, types: ["node", `${path}.d.ts`] };
  try {
    writeFileSync(`${path}.json`, JSON.stringify({ nodeModulesDir: "manual", compilerOptions }));
    // Deno has this one in a library of its own, and leaves it out of Node's types.
    writeFileSync(`${path}.d.ts`, "declare var crypto: { randomUUID(): string };");
    return await step("types without DOM", ["check", "--config", `${path}.json`, "tests/types/consumer.ts"]);
  } finally {
    for (const type of ["json", "d.ts"]) rmSync(`${path}.${type}`, { force: true });
  }
}

/** Prints what deno says only if it fails, or says something it should not. */
async function step(
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
  unwanted?: RegExp,
): Promise<boolean> {
  const start = performance.now();
  const child = spawn("Deno" in globalThis ? process.execPath : "deno", args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => output += text);
  }
  const code = await new Promise((resolve) => child.once("close", resolve));
  const passed = code === 0 && !unwanted?.test(output);
  if (!passed) console.log(output);
  console.log(`${passed ? "ok    " : "FAILED"} ${name} (${Math.round(performance.now() - start)} ms)`);
  return passed;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
