import { BackendError } from "../../internal/errors.ts";

/**
 * SQLite's own words, as every runtime passes them on; result codes are not on all of them. What can
 * never work by trying again says what to do instead.
 */
const FOR_GOOD: readonly [said: RegExp, what: string][] = [
  [
    /not a database|malformed|unsupported file format/i,
    "it is not an SQLite database, or a damaged one; it has been left as it is. Move it away, or name another path",
  ],
  [
    /readonly|read-only|EROFS/i,
    "the file or its folder is read-only. Make both writable for this user, or name another path",
  ],
  [
    /unable to open|EACCES|EPERM|ENOTDIR|EEXIST|EISDIR|ENAMETOOLONG|authoriz/i,
    "it cannot be opened. Give this user permission to read and write the file and its folder, or name another path",
  ],
  [
    /no such (table|column)|has no column/i,
    "its tables are not those of this version of Holdfast; it has been left as it is. Name another path",
  ],
];

/** Whether somebody else is writing at the moment: worth another try very soon. */
export function isBusy(error: unknown): boolean {
  return error instanceof Error && /^database (table |schema )?is locked/.test(error.message);
}

/** An error of SQLite or of the file system as ours. */
export function fault(path: string, error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  const { code, message } = error instanceof Error
    ? error as NodeJS.ErrnoException
    : { message: String(error) };
  // The file system has codes of its own, and its messages name the path.
  const said = code !== undefined && /^E[A-Z]+$/.test(code) ? code : message;
  const known = FOR_GOOD.find(([words]) => words.test(said));
  if (known !== undefined) return refusal(path, known[1], error);
  const advice = /is full|ENOSPC/.test(said) ? ". Free some space on its disk" : "";
  return new BackendError(`Cannot use the lock file ${JSON.stringify(path)}: ${message}${advice}`, {
    cause: error,
  });
}

/** A file that will not do, however often it is tried. */
export function refusal(path: string, why: string, cause?: unknown): BackendError {
  const message = `Cannot use the lock file ${JSON.stringify(path)}: ${why}`;
  return new BackendError(message, { retryable: false, ...(cause !== undefined && { cause }) });
}
