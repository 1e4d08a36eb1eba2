import { memory } from "../../backends/memory.ts";
import { use } from "../../internal/users.ts";
import type { Harness } from "../conformance/mod.ts";
import { CALL, claim, ENTERED, request } from "../support.ts";

/** Its own store: the same object each time, which no manager may close for good. */
export function harness(): Harness {
  const store = memory();
  const leave = use(store);
  return {
    name: "memory",
    open: () => store,
    async revoke(key) {
      const lease = await store.lease(request(), CALL);
      for (const { id, held } of await store.list(key, CALL)) {
        if (held) await lease.release(claim({ id, key }), ENTERED);
      }
    },
    [Symbol.asyncDispose]: leave,
  };
}
