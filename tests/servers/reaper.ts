/**
 * Sees to it that no server outlives the test process, however that ends: SIGKILL leaves no time for
 * an exit handler. A shell holds the other end of a pipe, and kills what is on the list of children
 * once the pipe closes, with their own children (on Linux). The data folders of all servers lie in one
 * folder, which goes with them.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, chmodSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The list is a file: what is appended to it is there even if this process dies at the next instant. */
const SCRIPT = `
trap "" INT TERM HUP
read -r end
pids=" "
while read -r verb pid; do
  case $verb in
    add) pids="$pids$pid " ;;
    drop) case $pids in *" $pid "*) pids="\${pids%% $pid *} \${pids#* $pid }" ;; esac ;;
  esac
done < "$1/children"
for pid in $pids; do kill -9 "$pid" $(cat "/proc/$pid/task/$pid/children") 2>/dev/null; done
rm -rf "$1"
`;

let folder: string | undefined;
/** Kept so that nothing closes the pipe before this process ends. */
let shell: ChildProcess | undefined;

/** The folder in which this process keeps the data of its servers. */
function root(): string {
  if (folder) return folder;
  folder = mkdtempSync(join(tmpdir(), "holdfast-servers-"));
  chmodSync(folder, 0o711); // a server that runs as another user comes to its own folder
  appendFileSync(join(folder, "children"), "");
  shell = spawn("/bin/sh", ["-c", SCRIPT, "reaper", folder], { stdio: ["pipe", "ignore", "ignore"] });
  shell.unref();
  (shell.stdin as unknown as { unref?(): void }).unref?.();
  return folder;
}

/** A new folder for the data of one server, gone with the test process at the latest. */
export function dataFolder(name: string): string {
  return mkdtempSync(join(root(), `${name}-`));
}

/** The child is killed when this process ends. */
export function adopt(child: ChildProcess): void {
  const list = join(root(), "children");
  const pid = child.pid;
  if (pid === undefined) return;
  appendFileSync(list, `add ${pid}\n`);
  child.once("exit", () => appendFileSync(list, `drop ${pid}\n`));
}
