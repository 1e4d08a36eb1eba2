import type { Store } from "./store.ts";

/** The core itself, within one process. */
export const memory: Store = {
  name: "memory",
  shortTtl: 2_000,
  longTtl: 600_000,
  alone: true,
  contestants: [
    { name: "Holdfast", kind: "ours", module: "holdfast.ts" },
    { name: "Holdfast, instrumented", kind: "peer", module: "memory/instrumented.ts" },
    { name: "async-mutex", kind: "peer", module: "memory/async_mutex.ts" },
  ],
  start: () =>
    Promise.resolve({ address: "memory:", pids: [], [Symbol.asyncDispose]: () => Promise.resolve() }),
};
