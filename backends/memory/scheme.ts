import type { Scheme } from "../shared/scheme.ts";
import { MEMORY_TRAITS } from "./traits.ts";

/** `memory:`, which has nothing to say. */
export const memoryScheme: Scheme = {
  names: ["memory"],
  title: "this process alone",
  example: "memory:",
  settings: {},
  read({ hosts, path }) {
    if (hosts.length > 0 || path !== "") {
      throw new TypeError('Expected the memory URL to be "memory:" and no more');
    }
    return {
      name: "memory",
      traits: MEMORY_TRAITS,
      given: [],
      load: async () => (await import("../memory.ts")).memory(),
      async *examine() {
        yield* (await import("./doctor.ts")).examine();
      },
    };
  },
};
