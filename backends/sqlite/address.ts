import { createHash, randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, statSync, unlinkSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** The path of a socket is limited: to 103 bytes on macOS, to 107 on Linux. */
const LONGEST = 100;
/** Milliseconds: a younger socket file may belong to a process that is just about to listen. */
const SETTLED = 60_000;

/** A folder for the sockets of one lock file. */
export interface Place {
  readonly folder: string;
  /** What the names of this lock file's sockets begin with. */
  readonly prefix: string;
}

/** Where to listen, best first: beside the lock file or, if that cannot be, among temporary files. */
export const PLACES: readonly ((file: string) => Place)[] = process.platform === "win32"
  ? [(file) => ({ folder: "\\\\.\\pipe", prefix: `holdfast-${digest(file)}-` })]
  : [
    (file) => ({ folder: `${file}-peers`, prefix: `${digest(file)}-` }),
    (file) => ({ folder: join(tmpdir(), `holdfast-${userInfo().uid}`), prefix: `${digest(file)}-` }),
  ];

function digest(file: string): string {
  return createHash("sha256").update(file).digest("hex").slice(0, 12);
}

/** An address that nobody has had before. */
export function newAddress({ folder, prefix }: Place): string {
  const address = join(folder, prefix + randomBytes(8).toString("hex"));
  if (Buffer.byteLength(address) > LONGEST) throw new Error(`${address} is too long for a socket`);
  return address;
}

/** Makes the folder. It must be ours alone: whoever can remove a socket can make its owner look dead. */
export function prepare({ folder }: Place): void {
  if (process.platform === "win32") return;
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const { uid } = userInfo();
  const found = lstatSync(folder);
  if (!found.isDirectory() || (found.uid !== uid && uid !== 0)) throw new Error(`${folder} is not ours`);
}

/** The addresses in a folder that have been there for a while. */
export function settled({ folder, prefix }: Place): string[] {
  if (process.platform === "win32") return [];
  const before = Date.now() - SETTLED;
  return readdirSync(folder).filter((name) => name.startsWith(prefix)).map((name) => join(folder, name))
    .filter((address) => (statSync(address, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) < before);
}

/** Removes the socket file of a process that has ended. */
export function removeSocket(address: string): void {
  try {
    if (lstatSync(address).isSocket()) unlinkSync(address);
  } catch {
    // Somebody else has removed it.
  }
}
