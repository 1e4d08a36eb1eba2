import type { Stats } from "node:fs";
import {
  chmodSync,
  chownSync,
  dirname,
  linkSync,
  mkdirSync,
  randomBytes,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "./builtin.ts";
import { inode } from "./inode.ts";
import { user } from "./rights.ts";

/**
 * Who else may use a file. A folder that is writable for its group and hands the group on to what is made
 * in it (mode 2770) is shared by the group: so is all that is made there, whatever the umask of its maker.
 */
export class Sharing {
  readonly #folder: Stats;

  /** By the folder of the file. */
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
      // What the superuser makes in a user's folder is that user's, as SQLite has it with its files.
      if (this.#folder.uid !== 0 && user() === 0) {
        chownSync(path, this.#folder.uid, this.#folder.gid);
      }
      if (this.shared) chmodSync(path, mode);
    } catch {
      // The file is another user's.
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

/** Level by level: Node's own recursion never ends where a folder cannot be made, as below /proc. */
export function makeFolder(path: string): void {
  if (inode(path) !== undefined) return;
  makeFolder(dirname(path));
  const sharing = new Sharing(dirname(path));
  if (!sharing.shared) {
    try {
      mkdirSync(path, { mode: sharing.folderMode });
    } catch (error) {
      // Another process may have been faster.
      if (inode(path) === undefined) throw error;
      return;
    }
    return sharing.adopt(path, sharing.folderMode);
  }
  // At no time is it there with fewer rights than others count on.
  const aside = `${path}.${randomBytes(8).toString("hex")}`;
  mkdirSync(aside);
  sharing.adopt(aside, sharing.folderMode);
  try {
    renameSync(aside, path);
  } catch (error) {
    rmdirSync(aside);
    if (inode(path) === undefined) throw error;
  }
}

/** Makes what the file needs to be made; and itself, empty, where others are to find it with all their rights. */
export function makeFile(path: string): void {
  makeFolder(dirname(path));
  const sharing = new Sharing(dirname(path));
  if (!sharing.shared || inode(path) !== undefined) return;
  const aside = `${path}.${randomBytes(8).toString("hex")}`;
  writeFileSync(aside, "");
  sharing.adopt(aside);
  try {
    linkSync(aside, path);
  } catch {
    // Another process was faster; or SQLite will say what is wrong.
  }
  rmSync(aside);
}
