import { chmodSync, chownSync, type Stats, statSync } from "node:fs";
import { dirname } from "node:path";
import { user } from "./rights.ts";

/**
 * Who else may use a lock file. A folder that is writable for its group and hands the group on to what is made
 * in it (mode 2770) is shared by the group: so is all that is made there, whatever the umask of its maker.
 */
export class Sharing {
  readonly #folder: Stats;

  /** By the folder of the lock file. */
  constructor(folder: string) {
    this.#folder = statSync(folder);
  }

  /** Whether the folder is shared by its group. */
  get shared(): boolean {
    return (this.#folder.mode & 0o2020) === 0o2020;
  }

  /** For a folder. */
  get folderMode(): number {
    return this.shared ? 0o2770 : 0o700;
  }

  /** Makes a file or folder that was just made accessible to those who share it. */
  adopt(path: string, mode = 0o660): void {
    try {
      // What the superuser makes in somebody's folder is that user's, as SQLite has it with its files.
      if (this.#folder.uid !== 0 && user() === 0) {
        chownSync(path, this.#folder.uid, this.#folder.gid);
      }
      if (this.shared) chmodSync(path, mode);
    } catch {
      // It is somebody else's.
    }
  }
}

/** Whether a file is, or would be, in a shared folder. */
export function isShared(path: string): boolean {
  try {
    return new Sharing(dirname(path)).shared;
  } catch {
    return false;
  }
}
