import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Store } from "./store.ts";

/** A file in a folder of its own. */
export const sqlite: Store = {
  name: "sqlite",
  shortTtl: 2_000,
  longTtl: 600_000,
  contestants: [
    { name: "Holdfast", kind: "ours", module: "holdfast.ts" },
    { name: "two write transactions", kind: "floor", module: "sqlite/by_hand.ts", bare: true },
    { name: "proper-lockfile", kind: "peer", module: "sqlite/proper_lockfile.ts", crowd: 100, renews: true },
  ],
  start() {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
    return Promise.resolve({
      address: `sqlite://${join(folder, "locks.db")}`,
      pids: [],
      [Symbol.asyncDispose]: () => Promise.resolve(rmSync(folder, { recursive: true, force: true })),
    });
  },
};
