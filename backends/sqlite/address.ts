import { BackendError } from "../../internal/errors.ts";
import {
  fileURLToPath,
  homedir,
  isAbsolute,
  join,
  pathToFileURL,
  process,
  resolve,
} from "./client/builtin.ts";

/** Where the locks of this user are unless a path is given: the same file for every runtime. */
export function defaultPath(): string {
  const named = variable("HOLDFAST_DB");
  if (!named) return join(stateFolder(), "holdfast", "locks.db");
  try {
    return absolutePath(named);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new BackendError(`Cannot use HOLDFAST_DB. ${cause.message}`, { cause, retryable: false });
  }
}

/**
 * What the caller named, as an absolute path. What other programs would take for something else is refused: a
 * file of an odd name, where no other process looks, would be a lock that keeps none of them out.
 */
export function absolutePath(path: string | URL): string {
  if (path instanceof URL) return ofUrl(path, path.href);
  if (typeof path !== "string") throw new TypeError(`Expected a path to be a string or a URL, got ${path}`);
  if (path.trim() === "") throw unusable(path, "it is empty. Leave it out for the default one");
  if (path.includes("\0")) throw unusable(path, "no path has a NUL in it");
  if (/^(file:)?:memory:$/i.test(path)) throw unusable(path, "use memory() of @holdfast/lock/memory instead");
  if (/^file:/i.test(path)) return ofUrl(new URL(path, pathToFileURL(resolve("x"))), path);
  const [scheme] = /^[a-z][a-z\d+.-]+:/i.exec(path) ?? [];
  if (scheme !== undefined) {
    throw unusable(path, `"${scheme}" is not what a path begins with; if it is its name, write "./${path}"`);
  }
  if (/[/\\]$/.test(path)) throw unusable(path, "it names a folder. Name a file");
  if (path === "~") throw unusable(path, "it names a folder. Name a file");
  if (path.startsWith("~/")) return join(home(), path.slice(1));
  if (path.startsWith("~")) {
    throw unusable(path, `only the own home folder has a short name; if it is a name, write "./${path}"`);
  }
  return resolve(path);
}

function ofUrl(url: URL, named: string): string {
  if (url.protocol !== "file:") throw unusable(named, "expected the URL of a file");
  if (url.search || url.hash) {
    throw unusable(named, `a file's URL has no ${url.search || url.hash}; write %3F for "?", %23 for "#"`);
  }
  if (url.host) throw unusable(named, "expected a local file, and the URL names a host");
  if (url.pathname.endsWith("/")) throw unusable(named, "it names a folder. Name a file");
  if (/%00/.test(url.pathname)) throw unusable(named, "no path has a NUL in it");
  return fileURLToPath(url);
}

function unusable(path: string, why: string): TypeError {
  return new TypeError(`Cannot keep locks in ${JSON.stringify(path)}: ${why}`);
}

/** For data that should stay between restarts, but is not worth a backup. */
function stateFolder(): string {
  if (process.platform === "darwin") return join(home(), "Library", "Application Support");
  if (process.platform === "win32") return variable("LOCALAPPDATA") || join(home(), "AppData", "Local");
  const named = variable("XDG_STATE_HOME");
  // The XDG specification: a relative path is to be ignored.
  return named?.startsWith("/") ? named : join(home(), ".local", "state");
}

function home(): string {
  let found: string | undefined;
  try {
    // Not left to `homedir`, for which Deno wants another permission.
    found = (process.platform !== "win32" && variable("HOME")) || homedir();
  } catch (error) {
    if (error instanceof BackendError) throw error;
  }
  if (found && isAbsolute(found)) return found;
  const what = "Cannot tell where the lock file is to be: this user has no home folder";
  throw new BackendError(`${what}. Set HOLDFAST_DB to its path, or pass it to sqlite()`, {
    retryable: false,
  });
}

function variable(name: string): string | undefined {
  try {
    return process.env[name];
  } catch (cause) {
    const flag = "--allow-env=HOLDFAST_DB,XDG_STATE_HOME,HOME";
    const what = `Cannot tell where the lock file is to be: this runtime may not read ${name}`;
    throw new BackendError(`${what}. Allow it (Deno: ${flag}), or pass a path to sqlite()`, {
      cause,
      retryable: false,
    });
  }
}
