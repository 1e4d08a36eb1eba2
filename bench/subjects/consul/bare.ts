import type { Open } from "../subject.ts";
import { Bare } from "./api.ts";

/** The least that a lock can do: acquire a key with a session, and release it. Nobody waits. */
export const open: Open = async (address) => {
  const bare = new Bare(address);
  const session = await bare.session();
  return {
    async acquire(key) {
      await bare.ask("PUT", `kv/${key}?acquire=${session}`, "x");
      return () => bare.ask("PUT", `kv/${key}?release=${session}`, "x");
    },
    close: () => Promise.resolve(bare.close()),
  };
};
