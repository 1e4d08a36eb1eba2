import { memory } from "../../backends/memory.ts";
import type { Harness } from "../conformance/mod.ts";

/** Its own store: the same object each time, which no manager may close for good. */
export function harness(): Harness {
  const store = memory();
  const operator = {};
  store.users.add(operator);
  return {
    name: "memory",
    open: () => store,
    async revoke(key) {
      const call = { signal: new AbortController().signal, timeout: 10_000 };
      const lease = await store.lease({ ttl: 10_000, client: "operator", lost: () => {} }, call);
      for (const { id, held } of await store.list(key, call)) {
        if (held) await lease.release({ ...CLAIM, id, key }, call);
      }
    },
    async [Symbol.asyncDispose]() {
      store.users.delete(operator);
      await store[Symbol.asyncDispose]();
    },
  };
}

/** What a release has to name besides the id. */
const CLAIM = {
  mode: "exclusive",
  limit: 1,
  ttl: 10_000,
  metadata: undefined,
  client: "operator",
  steal: false,
  wait: false,
  progress: "entered",
} as const;
