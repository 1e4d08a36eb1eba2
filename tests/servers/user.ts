/** The unprivileged user for the servers that refuse to run as root. */

import { chownSync, readFileSync } from "node:fs";
import process from "node:process";

/** `undefined` unless this process is root: then the user of Debian's Postgres package, or `nobody`. */
const ids = process.getuid?.() === 0 ? idsOf("postgres") ?? idsOf("nobody") : undefined;

/** What to spawn so that the program has the process id that the spawned one had. */
export function unprivileged(binary: string, args: readonly string[]): [binary: string, args: string[]] {
  if (!ids) return [binary, [...args]];
  const [user, group] = ids;
  return ["setpriv", [`--reuid=${user}`, `--regid=${group}`, "--clear-groups", binary, ...args]];
}

/** Gives a file or folder to that user. */
export function handOver(path: string): void {
  if (ids) chownSync(path, ...ids);
}

function idsOf(name: string): [user: number, group: number] | undefined {
  const [, user, group] = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, "m")
    .exec(readFileSync("/etc/passwd", "utf8")) ?? [];
  return user && group ? [Number(user), Number(group)] : undefined;
}
