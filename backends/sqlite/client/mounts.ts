import { process, readFileSync } from "./builtin.ts";

/** A file system, and where it is mounted. */
export interface Mount {
  readonly at: string;
  /** As the operating system calls it: "ext4", "nfs4", "fuse.sshfs". */
  readonly type: string;
}

/** The type of the file system that a path is on; `undefined` where that cannot be seen. */
export function fileSystemOf(path: string): string | undefined {
  const mounts = mountsHere();
  return mounts === undefined ? undefined : mountOf(path, mounts)?.type;
}

/** The mount that a path is on, which is without symbolic links: of those above it the lowest, and of these the last. */
export function mountOf(path: string, mounts: readonly Mount[]): Mount | undefined {
  const above = mounts.filter(({ at }) => path === at || path.startsWith(at.endsWith("/") ? at : `${at}/`));
  return above.reduce<Mount | undefined>(
    (low, one) => low && low.at.length > one.at.length ? low : one,
    undefined,
  );
}

/** Of Linux: `proc_pid_mountinfo(5)`. What is no letter of a path is written in octal. */
export function mountsOfLinux(mountinfo: string): Mount[] {
  return mountinfo.split("\n").flatMap((line) => {
    const [, at, type] = /^\S+ \S+ \S+ \S+ (\S+) .*? - (\S+) /.exec(line) ?? [];
    if (at === undefined) return [];
    return [{
      at: at.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
      type: type!,
    }];
  });
}

/** Of macOS: what `mount` prints. */
export function mountsOfMac(printed: string): Mount[] {
  return [...printed.matchAll(/^.* on (.*) \((\w+)[,)]/gm)].map(([, at, type]) => ({ at: at!, type: type! }));
}

function mountsHere(): Mount[] | undefined {
  try {
    if (process.platform === "linux") return mountsOfLinux(readFileSync("/proc/self/mountinfo", "utf8"));
    if (process.platform !== "darwin") return undefined;
    const { execFileSync } = process.getBuiltinModule("node:child_process");
    return mountsOfMac(execFileSync("/sbin/mount", { encoding: "utf8" }));
  } catch {
    return undefined; // this runtime was not given the right
  }
}
