/**
 * The runtime's own modules. They are not imported: a bundle of the core for a browser has what the core may load
 * in it as well, and bundlers for browsers refuse, or warn of, what imports `node:fs`.
 */
import { BackendError } from "../../../internal/errors.ts";

const runtime = (globalThis as { process?: NodeJS.Process }).process;

/** Not the global one, which bundlers may replace. */
export const process: NodeJS.Process = builtin("node:process");

export const { createHash, randomBytes } = builtin<typeof import("node:crypto")>("node:crypto");
export const {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} = builtin<typeof import("node:fs")>("node:fs");
export const { connect, createServer } = builtin<typeof import("node:net")>("node:net");
export const { homedir, tmpdir } = builtin<typeof import("node:os")>("node:os");
export const { dirname, isAbsolute, join, resolve } = builtin<typeof import("node:path")>("node:path");
export const { clearTimeout, setTimeout } = builtin<typeof import("node:timers")>("node:timers");
export const { fileURLToPath, pathToFileURL } = builtin<typeof import("node:url")>("node:url");

function builtin<Module>(name: string): Module {
  const found = runtime?.getBuiltinModule?.(name);
  if (found !== undefined) return found as Module;
  const what = `Cannot use SQLite: this runtime has no ${name}, as no browser has`;
  throw new BackendError(`${what}. Use new LockManager(...) over another backend`, {
    retryable: false,
  });
}
