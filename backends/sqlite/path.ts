import { homedir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Where the locks of this user are if nobody says otherwise: the same file for every runtime. */
export function defaultPath(): string {
  const named = process.env.HOLDFAST_DB;
  return named ? resolve(named) : join(stateFolder(), "holdfast", "locks.db");
}

/** What the caller named as an absolute path. */
export function absolutePath(path: string | URL): string {
  if (path instanceof URL) return fileURLToPath(path);
  if (typeof path !== "string") throw new TypeError(`Expected a path to be a string or a URL, got ${path}`);
  return resolve(path);
}

/** For data that should stay between restarts, but is not worth a backup. */
function stateFolder(): string {
  if (process.platform === "darwin") return join(homedir(), "Library", "Application Support");
  if (process.platform === "win32") return process.env.LOCALAPPDATA || join(homedir(), "AppData", "Local");
  const named = process.env.XDG_STATE_HOME;
  // The XDG specification: a relative path is to be ignored.
  return named?.startsWith("/") ? named : join(homedir(), ".local", "state");
}
