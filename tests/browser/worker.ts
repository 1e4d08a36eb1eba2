/** A worker that has locks of its own. */
import { failures } from "./cases.ts";
import type { Port } from "./keeper.ts";

failures().then((failed) => (globalThis as unknown as Port).postMessage(failed));
