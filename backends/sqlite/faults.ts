import { BackendError } from "../../internal/errors.ts";
import { closeSync, dirname, openSync, statSync } from "./builtin.ts";
import { user } from "./rights.ts";

/** What a fault means. */
interface Meaning {
  /** SQLite's own words, as every runtime passes them on, or a code of the file system. */
  readonly said: RegExp;
  /** Why, and what to do. */
  readonly what: string;
  /** Whether trying again can help. */
  readonly passes?: boolean;
}

const MEANINGS: readonly Meaning[] = [
  {
    said: /^(EMFILE|ENFILE)$/,
    what: "this process has no file descriptor left. Raise its limit (ulimit -n), or close some of its files",
    passes: true,
  },
  { said: /is full|^(ENOSPC|EDQUOT)$/, what: "its disk is full. Free some space on it", passes: true },
  {
    said: /NotCapable|PermissionDenied|ERR_ACCESS_DENIED/,
    what: "this runtime was not given the right to use it. Allow reading and writing for its folder " +
      "(Deno: --allow-read=FOLDER --allow-write=FOLDER; Node: --allow-fs-read=FOLDER/* --allow-fs-write=FOLDER/*)",
  },
  {
    said: /not a database|malformed|unsupported file format/i,
    what: "it is not an SQLite database, or a damaged one; it has been left as it is. " +
      "Move it away, or name another path",
  },
  {
    said: /readonly|read-only|^EROFS$/i,
    what: "the file or its folder is read-only. Make both writable for this user, or name another path",
  },
  {
    said: /disk I\/O error/,
    what: "it cannot be read. Its disk fails, or its -wal was removed while others have it open: " +
      "then it can be read again once they have noticed",
    passes: true,
  },
  {
    said: /^(ENOENT|ENAMETOOLONG|ELOOP|EINVAL)$/,
    what: "there can be no such file: its path is too long, or a part of it leads nowhere. Name another path",
  },
  {
    said: /unable to open|^(EACCES|EPERM|ENOTDIR|EEXIST|EISDIR)$|authoriz/i,
    what: "it cannot be opened. Give this user permission to read and write the file and its folder, " +
      "or name another path (instead of the default one: HOLDFAST_DB)",
  },
  {
    said: /no such (table|column)|has no column/i,
    what:
      "its tables are not those of this version of Holdfast; it has been left as it is. Name another path",
  },
];

/** Whether somebody else is writing at the moment: worth another try very soon. */
export function isBusy(error: unknown): boolean {
  return error instanceof Unsettled ||
    error instanceof Error && /^database (table |schema )?is locked/.test(error.message);
}

/** Whether an open connection is of no more use: it may be to files that do not belong together. */
export function isBroken(error: unknown): boolean {
  return error instanceof Error && /disk I\/O error|malformed|not a database/.test(error.message);
}

/** Whether this user lacks a right. */
export function isForbidden(error: unknown): boolean {
  const words = error instanceof BackendError
    ? String((error.cause as Error | undefined)?.message)
    : String(error);
  return /unable to open|EACCES|readonly database/.test(words);
}

/** The file is being replaced at the moment: to be opened again. */
export class Unsettled extends Error {}

/** An error of SQLite or of the file system as ours. `part`: of what beside the file, if it was not the file. */
export function fault(path: string, error: unknown, part?: string): BackendError {
  if (error instanceof BackendError) return error;
  const { code, name, message } = error instanceof Error
    ? error as NodeJS.ErrnoException
    : { code: undefined, name: "", message: String(error) };
  // What SQLite cannot open it does not give a reason for; and the messages of the file system name the path.
  const said = /unable to open/.test(message) && descriptorsExhausted(path)
    ? "EMFILE"
    : code !== undefined && /^E[A-Z_]+$/.test(code) && code !== "ERR_SQLITE_ERROR"
    ? code
    : /NotCapable|PermissionDenied/.test(name)
    ? name
    : message;
  const known = MEANINGS.find((meaning) => meaning.said.test(said));
  if (known === undefined) {
    return new BackendError(`Cannot use the lock file ${JSON.stringify(path)}: ${message}`, { cause: error });
  }
  const { what, passes = false } = known;
  const owner = passes || /NotCapable|ERR_ACCESS/.test(said) ? undefined : otherOwner(path);
  const advice = owner === undefined
    ? ""
    : `. It belongs to another user (uid ${owner}): to share it, see "Several users" in the documentation`;
  const where = part === undefined ? "" : `as to ${JSON.stringify(part)}, `;
  return refusal(path, where + what + advice, { cause: error, retryable: passes });
}

/** A file that will not do; unless said otherwise, however often it is tried. */
export function refusal(
  path: string,
  why: string,
  { cause, retryable = false }: { cause?: unknown; retryable?: boolean } = {},
): BackendError {
  const message = `Cannot use the lock file ${JSON.stringify(path)}: ${why}`;
  return new BackendError(message, { retryable, ...(cause !== undefined && { cause }) });
}

/** How many an open lock file takes: its three, the one that proves life, its socket, and one in reserve. */
const DESCRIPTORS = 6;

function descriptorsExhausted(path: string): boolean {
  const opened: number[] = [];
  try {
    // Never the file itself: closing it here would end SQLite's locks on it.
    while (opened.length < DESCRIPTORS) opened.push(openSync(dirname(path), "r"));
    return false;
  } catch (error) {
    return /^(EMFILE|ENFILE)$/.test((error as NodeJS.ErrnoException).code ?? "");
  } finally {
    for (const each of opened) closeSync(each);
  }
}

/** The user that the file, or the folder on the way to it, belongs to, if that is not who this process runs as. */
function otherOwner(path: string): number | undefined {
  try {
    const { uid } = statSync(path, { throwIfNoEntry: false }) ?? statSync(dirname(path));
    return [uid, undefined].includes(user()) ? undefined : uid;
  } catch {
    return undefined;
  }
}
