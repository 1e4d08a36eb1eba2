import { BackendError } from "../../../internal/errors.ts";
import { type Meaning, meaningOf, type Refusals, refused } from "../../shared/errors.ts";
import { closeSync, dirname, openSync, statSync } from "./builtin.ts";
import { user } from "./rights.ts";

/** What is wrong, and what to do, apart from what was said. */
interface Reason extends Meaning {
  readonly why: string;
}

/** By SQLite's own words, as every runtime passes them on, or a code of the file system. */
const REASONS: Refusals<Reason> = [
  [/^(EMFILE|ENFILE)$/, {
    why: "this process has no file descriptor left. Raise its limit (ulimit -n), or close some of its files",
  }],
  [/is full|^(ENOSPC|EDQUOT)$/, { why: "its disk is full. Free some space on it" }],
  [/NotCapable|PermissionDenied|ERR_ACCESS_DENIED/, {
    why: "this runtime was not given the right to use it. Allow reading and writing for its folder " +
      "(Deno: --allow-read=FOLDER --allow-write=FOLDER; Node: --allow-fs-read=FOLDER/* --allow-fs-write=FOLDER/*)",
    retryable: false,
  }],
  [/not a database|malformed|unsupported file format/i, {
    why: "it is not an SQLite database, or a damaged one; it has been left as it is. " +
      "Move it away, or name another path",
    retryable: false,
  }],
  [/readonly|read-only|^EROFS$/i, {
    why: "the file or its folder is read-only. Make both writable for this user, or name another path",
    retryable: false,
  }],
  [/disk I\/O error/, {
    why: "it cannot be read. Its disk fails, or its -wal was removed while others have it open: " +
      "then it can be read again once they have noticed",
  }],
  [/^(ENOENT|ENAMETOOLONG|ELOOP|EINVAL)$/, {
    why: "there can be no such file: its path is too long, or a part of it leads nowhere. Name another path",
    retryable: false,
  }],
  [/unable to open|^(EACCES|EPERM|ENOTDIR|EEXIST|EISDIR)$|authoriz/i, {
    why: "it cannot be opened. Give this user permission to read and write the file and its folder, " +
      "or name another path (instead of the default one: HOLDFAST_DB)",
    retryable: false,
  }],
  [/no such (table|column)|has no column/i, {
    why: "its tables are not those of this version of Holdfast; it has been left as it is. Name another path",
    retryable: false,
  }],
];

/** Whether another connection is writing at the moment: worth another try very soon. */
export function isBusy(error: unknown): boolean {
  return error instanceof Unsettled ||
    error instanceof Error && /^database (table |schema )?is locked/.test(error.message);
}

/** Whether an open connection is of no more use: its files may not belong together. */
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
  const known = meaningOf(REASONS, [], [said]);
  if (known === undefined) return refusal(path, message, { cause: error, retryable: true });
  const { why, retryable = true } = known;
  const owner = retryable || /NotCapable|ERR_ACCESS/.test(said) ? undefined : otherOwner(path);
  const advice = owner === undefined
    ? ""
    : `. It belongs to another user (uid ${owner}): to share it, see "Several users" in the documentation`;
  const where = part === undefined ? "" : `as to ${JSON.stringify(part)}, `;
  return refusal(path, where + why + advice, { cause: error, retryable });
}

/** A file that will not do; unless said otherwise, however often it is tried. */
export function refusal(
  path: string,
  why: string,
  { cause, retryable = false }: { cause?: unknown; retryable?: boolean } = {},
): BackendError {
  return refused(`use the lock file ${JSON.stringify(path)}`, why, { retryable }, cause);
}

/** What was not even begun in the file, as the file could not be had. */
export function unsent(path: string, why: string, cause?: unknown): BackendError {
  return Object.assign(refusal(path, why, { cause, retryable: true }), { unsent: true });
}

/** How many an open file takes: its three, the one that proves life, its socket, and one in reserve. */
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
