import { Buffer } from "node:buffer";
import { Etcd3 } from "etcd3";
import type { Open, Signal } from "../subject.ts";

const KEY = Buffer.from("floor");

/** The floor of a hand-over: a delete in one process to its watch event in the other. */
export const open: Open<Signal> = async (address) => {
  const client = new Etcd3({ hosts: address.replace("etcd:", "http:") });
  const stream = await client.watchClient.watch();
  const created = Promise.withResolvers<void>();
  let got: (() => void) | undefined;
  stream.on("data", ({ created: begun, events }) => {
    if (begun) created.resolve();
    if (events.length > 0) got?.();
  });
  stream.on("error", () => {});
  stream.write({ create_request: { key: KEY, filters: ["Noput"] } });
  await created.promise;
  return {
    async wait(waiting) {
      await client.kv.put({ key: KEY });
      const deleted = new Promise<void>((resolve) => got = resolve);
      waiting();
      await deleted;
    },
    pass: () => client.kv.deleteRange({ key: KEY }),
    close() {
      stream.end();
      return Promise.resolve(client.close());
    },
  };
};
