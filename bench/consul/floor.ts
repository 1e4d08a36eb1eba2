import type { Subject } from "../handover/subject.ts";
import { Bare } from "./bare.ts";

/** The floor of Consul: a delete in one process to the end of a blocking query in the other. */
export function subject(url: string): Promise<Subject> {
  const bare = new Bare(url);
  return Promise.resolve({
    async wait(waiting) {
      await bare.ask("PUT", "kv/floor", "x");
      const { index } = await bare.ask("GET", "kv/floor");
      const changed = bare.ask("GET", `kv/floor?index=${index}`);
      waiting();
      await changed;
    },
    async pass() {
      await bare.ask("DELETE", "kv/floor");
    },
    close() {
      bare.close();
      return Promise.resolve();
    },
  });
}
