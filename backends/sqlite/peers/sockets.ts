import {
  createHash,
  join,
  process,
  readlinkSync,
  symlinkSync,
  tmpdir,
  unlinkSync,
} from "../client/builtin.ts";

/** The path of a socket is limited: to 103 bytes on macOS, to 107 on Linux. */
const LONGEST = 100;

/**
 * Where a session listens, named by its id: a socket in the folder of sessions, so that all who see the lock
 * file find it, under whatever path. Throws if there is no way to name it.
 */
export function socketOf(folder: string, id: string): string {
  if (process.platform === "win32") return `\\\\.\\pipe\\holdfast-${id}`;
  const name = `${id}.sock`;
  const path = join(folder, name);
  return Buffer.byteLength(path) <= LONGEST ? path : join(shortcut(folder), name);
}

/** Removes the socket of a session that has ended. */
export function removeSocket(folder: string, id: string): void {
  if (process.platform === "win32") return;
  try {
    unlinkSync(join(folder, `${id}.sock`));
  } catch {
    // Another process has removed it, or there was none.
  }
}

/** A short name for a folder: a symbolic link among the temporary files, the same for all processes. */
function shortcut(folder: string): string {
  const path = join(tmpdir(), `holdfast-${createHash("sha256").update(folder).digest("hex").slice(0, 16)}`);
  try {
    symlinkSync(folder, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    // Another user's would lead to sockets of that user's.
    if (readlinkSync(path) !== folder) throw new Error(`${path} leads elsewhere`);
  }
  return path;
}
