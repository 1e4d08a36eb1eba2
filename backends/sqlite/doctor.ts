/** What a lock in this file is worth. */
import { sqlite } from "../sqlite.ts";
import {
  type Checkup,
  type Examination,
  type Finding,
  good,
  note,
  probe,
  refusedFor,
  unsafe,
  unseen,
} from "../shared/doctor.ts";
import { defaultPath } from "./address.ts";
import { dirname, process, realpathSync, statfsSync, statSync } from "./client/builtin.ts";
import { openDatabase } from "./client/database.ts";
import { fault } from "./client/errors.ts";
import { fileSystemOf } from "./client/mounts.ts";

/** File systems over which processes do not see each other's locks: of other machines, and of the host of this one. */
const REMOTE =
  /^(nfs\d?|cifs|smb\w*|9p|afs|afpfs|ceph|lustre|beegfs|gfs2?|ocfs2|webdav|davfs|virtiofs|vboxsf|vmhgfs|drvfs)$/;

/** What is local although it is a program that keeps it. */
const LOCAL_FUSE = /^(fuseblk|fuse\.(fuse-overlayfs|ntfs-3g|ext[234]|bindfs))$/;

/** Bytes below which a disk is about to be full. */
const LITTLE = 16 * 2 ** 20;

/** Looks at the file, where it is, and who may use it. One that is not there is not made. */
export async function* examine(given: string | undefined, checkup: Checkup): Examination {
  const path = given ?? defaultPath();
  let isThere = false;
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    isThere = found !== undefined && found.size > 0;
    yield* place(path, originOf(given), isThere);
    if (isThere) yield integrity(path);
  } catch (error) {
    return yield refusedFor("file", fault(path, error));
  }
  if (isThere) yield* probe(sqlite(path), checkup);
}

function originOf(given: string | undefined): string {
  if (given !== undefined) return "named by the URL";
  return process.env.HOLDFAST_DB ? "named by HOLDFAST_DB" : "the default of this user";
}

function place(path: string, origin: string, isThere: boolean): Finding[] {
  const folder = nearest(dirname(path));
  const missing = "is not there yet: the first lock makes it. Until then, none is tried";
  return [
    isThere ? good("file", `${path} (${origin}).`) : note("file", `${path} (${origin}) ${missing}.`),
    fileSystemFinding(fileSystemOf(realpathSync(isThere ? path : folder))),
    ...access(folder),
    ...space(folder),
  ];
}

/** The lowest folder on the way there that is there. */
function nearest(folder: string): string {
  while (statSync(folder, { throwIfNoEntry: false }) === undefined && dirname(folder) !== folder) {
    folder = dirname(folder);
  }
  return folder;
}

/** What it means that the file is on a file system of this type; `undefined`: of one that is not known. */
export function fileSystemFinding(type: string | undefined): Finding {
  if (type === undefined) return unseen("file system", "this system does not tell its mounts");
  if (REMOTE.test(type) || type.startsWith("fuse") && !LOCAL_FUSE.test(type)) {
    const alone = "over it processes may not see each other's locks, so that two hold at once";
    return unsafe("file system", `It is ${type}: ${alone}. Use a local disk, or a store with a server.`);
  }
  if (/overlay/.test(type)) {
    const shared = "mount a volume for locks that containers share";
    return note("file system", `It is ${type}, the layer of one container, and ends with it: ${shared}.`);
  }
  if (/^(tmpfs|ramfs)$/.test(type)) {
    return note(
      "file system",
      `It is ${type}, in memory: a restart of the machine ends locks and processes alike.`,
    );
  }
  return good("file system", `It is ${type}, on this machine.`);
}

/** Who may remove the file may take every lock. */
function access(folder: string): Finding[] {
  if (process.platform === "win32") return [];
  const { mode } = statSync(folder);
  const isOpen = (mode & 0o002) !== 0 && (mode & 0o1000) === 0;
  if (!isOpen) return [];
  return [note("rights", `Everybody may write to ${folder}, and remove the file: chmod o-w.`)];
}

function space(folder: string): Finding[] {
  try {
    const { bavail, bsize } = statfsSync(folder);
    const free = bavail * bsize;
    const left = `${Math.floor(free / 2 ** 20)} MiB of the disk are free`;
    return [
      free < LITTLE
        ? note("space", `${left}: when it is full, nobody is given a lock.`)
        : good("space", `${left}.`),
    ];
  } catch {
    return [unseen("space", "this runtime does not tell how full the disk is, or may not")];
  }
}

/** Throws if it is damaged: what a lock does in such a file is not known. */
function integrity(path: string): Finding {
  const database = openDatabase(path, { readOnly: true });
  try {
    const [first] = database.prepare("PRAGMA quick_check(1)").all() as { readonly quick_check: string }[];
    if (first?.quick_check === "ok") return good("integrity", "SQLite finds the file whole.");
    throw new Error(`malformed: ${first?.quick_check}`);
  } finally {
    database.close();
  }
}
