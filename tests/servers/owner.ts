/** Which process is at the other end of a local connection (Linux only). */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";

/** Whether the process has the connection from its local port to the remote one. */
export function owns(pid: number | undefined, localPort: number, remotePort: number): boolean {
  if (process.platform !== "linux") {
    throw new Error("Cannot tell whose connection it is: only Linux shows that");
  }
  if (pid === undefined) return false;
  const inode = inodeOf(localPort, remotePort);
  if (inode === undefined) return false;
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).some((fd) => {
    try {
      return readlinkSync(`${folder}/${fd}`) === `socket:[${inode}]`;
    } catch {
      return false; // closed meanwhile
    }
  });
}

function inodeOf(localPort: number, remotePort: number): string | undefined {
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readFileSync(table, "utf8").split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (portOf(fields[1]) === localPort && portOf(fields[2]) === remotePort) return fields[9];
    }
  }
}

/** Addresses are written `0100007F:1F90`. */
function portOf(address: string | undefined): number {
  return parseInt(address?.split(":")[1] ?? "", 16);
}
