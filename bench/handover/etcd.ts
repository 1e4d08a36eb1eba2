import { Buffer } from "node:buffer";
import { Etcd3 } from "etcd3";
import type { Subject } from "./subject.ts";

const KEY = "floor";

/** The floor of etcd: a delete in one process to its watch event in the other. */
export async function subject(url: string): Promise<Subject> {
  const client = new Etcd3({ hosts: url });
  const stream = await client.watchClient.watch();
  const created = Promise.withResolvers<void>();
  let got: (() => void) | undefined;
  stream.on("data", ({ created: begun, events }) => {
    if (begun) created.resolve();
    if (events.length > 0) got?.();
  });
  stream.on("error", () => {});
  stream.write({ create_request: { key: Buffer.from(KEY), filters: ["Noput"] } });
  await created.promise;
  return {
    async wait(waiting) {
      await client.kv.put({ key: Buffer.from(KEY) });
      const deleted = new Promise<void>((resolve) => got = resolve);
      waiting();
      return await deleted;
    },
    async pass() {
      await client.kv.deleteRange({ key: Buffer.from(KEY) });
    },
    close() {
      stream.end();
      client.close();
      return Promise.resolve();
    },
  };
}
