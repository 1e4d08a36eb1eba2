import type { Open, Signal } from "../subject.ts";
import { Bare } from "./api.ts";

/** The floor of a hand-over: a delete in one process to the end of a blocking query in the other. */
export const open: Open<Signal> = (address) => {
  const bare = new Bare(address);
  return Promise.resolve({
    async wait(waiting) {
      await bare.ask("PUT", "kv/floor", "x");
      const { index } = await bare.ask("GET", "kv/floor");
      const changed = bare.ask("GET", `kv/floor?index=${index}`);
      waiting();
      await changed;
    },
    pass: () => bare.ask("DELETE", "kv/floor"),
    close: () => Promise.resolve(bare.close()),
  });
};
