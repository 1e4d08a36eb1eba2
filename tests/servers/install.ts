/**
 * Finds the programs that the tests start. What is missing is installed with apt-get on Debian as
 * root; elsewhere the error says what to install. What is on the PATH is used as it is, and so are the jars
 * in the folder HOLDFAST_JARS.
 */

import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { run } from "./process.ts";

/** A program or file that tests need, and where it comes from. */
interface Source {
  /** Debian's package. */
  readonly debian: string;
  /** Homebrew's. */
  readonly brew: string;
  /** A release of Debian that has the package, if the machine's own may not. */
  readonly release?: string;
  /** For what is not a program on the PATH. */
  readonly files?: readonly string[];
}

const SOURCES: Record<string, Source> = {
  "redis-server": { debian: "redis-server", brew: "redis" },
  "redis-sentinel": { debian: "redis-sentinel", brew: "redis" },
  "redis-cli": { debian: "redis-tools", brew: "redis" },
  "etcd": { debian: "etcd-server", brew: "etcd" },
  "etcdctl": { debian: "etcd-client", brew: "etcd" },
  "java": { debian: "default-jre-headless", brew: "openjdk" },
  "javac": { debian: "default-jdk-headless", brew: "openjdk" },
  "zookeeper.jar": {
    debian: "zookeeper",
    brew: "zookeeper",
    files: ["/usr/share/java/zookeeper.jar"],
  },
  "curator-recipes.jar": {
    debian: "libcurator-recipes-java",
    brew: "maven",
    files: ["/usr/share/java/curator-recipes.jar"],
  },
  "consul": { debian: "consul", brew: "consul", release: "bullseye" },
  "postgres": { debian: "postgresql", brew: "postgresql" },
  "pgbouncer": { debian: "pgbouncer", brew: "pgbouncer" },
  "chromium": { debian: "chromium", brew: "chromium" },
  "promtool": { debian: "prometheus", brew: "prometheus" },
  "tini": { debian: "tini", brew: "tini" },
  "openssl": { debian: "openssl", brew: "openssl" },
  "libfaketime.so.1": {
    debian: "libfaketime",
    brew: "libfaketime",
    files: ["x86_64", "aarch64"].map((cpu) => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketime.so.1`),
  },
};

/** What each store's tests need, for installing it all at once. */
export const NEEDS: Readonly<Record<string, readonly string[]>> = {
  // Browsers have no other store, and telemetry needs none.
  memory: process.platform === "linux" ? ["chromium", "promtool"] : [],
  redis: ["redis-server", "redis-sentinel", "redis-cli", "openssl", "libfaketime.so.1"],
  etcd: ["etcd", "etcdctl", "openssl", "libfaketime.so.1"],
  zookeeper: ["java", "javac", "zookeeper.jar", "curator-recipes.jar", "libfaketime.so.1"],
  consul: ["consul", "openssl", "libfaketime.so.1"],
  postgres: ["postgres", "pgbouncer", "openssl", "libfaketime.so.1"],
};

/** The path of a program or file, installed if need be. */
export async function binary(name: string): Promise<string> {
  const path = find(name);
  if (path) return path;
  await install([name]);
  return find(name) ?? unavailable(name);
}

/** One installation at a time. */
let installing: Promise<void> = Promise.resolve();

/** Installs what is missing of these. */
export function install(names: readonly string[]): Promise<void> {
  const next = installing.then(() => installMissing(names));
  installing = next.catch(() => {});
  return next;
}

async function installMissing(names: readonly string[]): Promise<void> {
  const missing = [...new Set(names)].filter((name) => !find(name));
  if (missing.length === 0) return;
  if (!existsSync("/etc/debian_version") || !which("apt-get") || process.getuid?.() !== 0) {
    unavailable(...missing);
  }
  console.log(`Installing ${missing.join(", ")} with apt-get ...`);
  await aptGet(["update", "-qq"]);
  const available = new Set<string>();
  for (const name of missing) if (await inMachinesRelease(packageOf(name))) available.add(name);
  await installPackages([...available].map(packageOf));
  for (const name of missing) if (!available.has(name)) await unpackFromOlderRelease(name);
}

/** Waits for its turn, where several test processes find something missing. */
function aptGet(args: readonly string[], cwd?: string): Promise<string> {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  return run("flock", [join(tmpdir(), "holdfast-apt.lock"), "apt-get", ...args], {
    timeout: 600_000,
    env,
    cwd,
  });
}

function find(name: string): string | undefined {
  const files = SOURCES[name]?.files;
  const jar = join(process.env.HOLDFAST_JARS ?? "", name);
  if (process.env.HOLDFAST_JARS && name.endsWith(".jar") && existsSync(jar)) return jar;
  return files ? files.find((path) => existsSync(path)) : which(name);
}

function which(name: string): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  folders.push("/usr/sbin", "/sbin", join(cacheFolder(), "usr/bin"), ...postgresFolders());
  for (const folder of folders) {
    const path = join(folder || ".", name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not here
    }
  }
}

/** Debian keeps a folder for each version, none of them on the PATH; the newest comes first. */
function postgresFolders(): string[] {
  const all = "/usr/lib/postgresql";
  const versions = existsSync(all) ? readdirSync(all) : [];
  return versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(all, version, "bin"));
}

function unavailable(...names: string[]): never {
  const how = names.map((name) =>
    `${name} (Debian: ${packageOf(name)}, Homebrew: ${SOURCES[name]?.brew ?? name})`
  );
  throw new Error(`Cannot find ${how.join(", ")}: install it and have it on the PATH`);
}

function packageOf(name: string): string {
  return SOURCES[name]?.debian ?? name;
}

async function inMachinesRelease(name: string): Promise<boolean> {
  return /Candidate: (?!\(none\))/.test(await run("apt-cache", ["policy", name]));
}

async function installPackages(packages: readonly string[]): Promise<void> {
  if (packages.length === 0) return;
  // The packages' own services stay off: the tests start their servers themselves.
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    const args = ["-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq", "--no-install-recommends"];
    await aptGet([...args, ...new Set(packages)]);
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}

/**
 * Takes a package from an older release of Debian, off the mirror that the machine uses, without
 * adding that release to the machine: its lists are kept apart, and the package is only unpacked.
 */
async function unpackFromOlderRelease(name: string): Promise<void> {
  const release = SOURCES[name]?.release ?? unavailable(name);
  const cache = cacheFolder();
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, "unpack-"));
  try {
    const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    const signed = existsSync(keys) ? `[signed-by=${keys}] ` : "";
    writeFileSync(join(work, "sources.list"), `deb ${signed}${await mirror()} ${release} main\n`);
    mkdirSync(join(work, "lists/partial"), { recursive: true });
    const apart = [
      ...[
        "-o",
        `Dir::Etc::SourceList=${join(work, "sources.list")}`,
        "-o",
        "Dir::Etc::SourceParts=/dev/null",
      ],
      ...["-o", `Dir::State::Lists=${join(work, "lists")}`],
      ...["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="],
      ...["-o", "APT::Sandbox::User=root"], // apt's own user may not enter this folder
    ];
    await aptGet([...apart, "update", "-qq"]);
    await aptGet([...apart, "download", "-qq", packageOf(name)], work);
    await run("sh", ["-c", 'dpkg -x ./*.deb "$1"', "sh", join(work, "root")], { cwd: work });
    mkdirSync(join(cache, "usr/bin"), { recursive: true });
    // In one step: another test process may be doing the same.
    renameSync(join(work, "root/usr/bin", name), join(cache, "usr/bin", name));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Where the machine gets Debian itself from. */
async function mirror(): Promise<string> {
  const targets = await run("apt-get", [
    ...["indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL) $(COMPONENT)", "Identifier: Packages"],
  ]);
  for (const line of targets.split("\n")) {
    const [uri, origin, label, component] = line.split(" ");
    if (uri && origin === "Debian" && label === "Debian" && component === "main") return uri;
  }
  throw new Error(`Cannot tell the machine's Debian mirror from its apt sources:\n${targets}`);
}

/** Where the tests keep what they have installed without the machine's own package manager. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "holdfast-tests");
}
