/** The peers in Go and Java: long-lived processes that do what they are told, see `harness/protocol.ts`. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { cacheFolder } from "../../tests/servers/install.ts";
import type { Program } from "../harness/runner.ts";

/** Milliseconds: the first build downloads all that the libraries need. */
const PATIENCE = 900_000;

/** `etcd` or `redsync`, which takes several addresses separated by commas; `undefined` without Go. */
export async function goPeer(peer: string, address: string, ttl: number): Promise<Program | undefined> {
  if (!has("go")) return undefined;
  const folder = await built(
    "go",
    (work) => compile("go", ["build", "-buildvcs=false", "-o", "peer", "."], work),
  );
  return { name: `${peer} (Go)`, binary: join(folder, "peer"), args: [peer, address, `${ttl}`] };
}

/** `redisson-lock`, `redisson-fair`, `redisson-fenced` or `curator`; `undefined` without a JDK and Maven. */
export async function javaPeer(peer: string, address: string, ttl: number): Promise<Program | undefined> {
  if (!["java", "javac", "mvn"].every(has)) return undefined;
  const goals = ["compile", "dependency:copy-dependencies"];
  const folder = await built("java", (work) => compile("mvn", ["--batch-mode", "--quiet", ...goals], work));
  const classes = ["classes", "dependency/*"].map((path) => join(folder, "target", path)).join(delimiter);
  const quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
  return {
    name: `${peer} (Java)`,
    binary: "java",
    args: [quiet, "-cp", classes, "peers.Main", peer, address, `${ttl}`],
  };
}

function has(program: string): boolean {
  return process.env.PATH!.split(delimiter).some((folder) => existsSync(join(folder, program)));
}

/** Maven complains on its standard output. */
function compile(program: string, args: readonly string[], cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { cwd, timeout: PATIENCE }, (error, stdout) => {
      if (error) reject(new Error(`${error.message}\n${stdout}`, { cause: error }));
      else resolve();
    });
  });
}

const builds = new Map<string, Promise<string>>();

/** The folder with what was built of the sources as they are now: once in this process, and kept for the next. */
function built(language: string, build: (work: string) => Promise<unknown>): Promise<string> {
  let folder = builds.get(language);
  if (folder === undefined) builds.set(language, folder = buildOnce(language, build));
  return folder;
}

async function buildOnce(language: string, build: (work: string) => Promise<unknown>): Promise<string> {
  const sources = fileURLToPath(new URL(language, import.meta.url));
  const all = join(cacheFolder(), "peers");
  const folder = join(all, `${language}-${fingerprint(sources)}`);
  if (existsSync(folder)) return folder;
  mkdirSync(all, { recursive: true });
  const work = mkdtempSync(join(all, "build-"));
  try {
    cpSync(sources, work, { recursive: true });
    await build(work);
    // In one step: another process may be doing the same, and what it has built is as good.
    if (!existsSync(folder)) renameSync(work, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
}

function fingerprint(folder: string): string {
  const hash = createHash("sha256");
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    const file = join(folder, path);
    if (statSync(file).isFile()) hash.update(`${path}\n`).update(readFileSync(file));
  }
  return hash.digest("hex").slice(0, 16);
}
