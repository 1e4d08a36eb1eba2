import { Buffer } from "node:buffer";
import { Etcd3, type IOptions } from "etcd3";
import type { Open } from "../subject.ts";

/** Each call once, without retries and circuit breakers. */
const ONCE = {
  execute: async (call: (context: object) => unknown) => await call({}),
} as NonNullable<NonNullable<IOptions["faultHandling"]>["global"]>;

/** The least that a lock can do: create a key unless it is there, delete it if it is ours. No queue. */
export const open: Open = async (address) => {
  const client = new Etcd3({
    hosts: address.replace("etcd:", "http:"),
    faultHandling: { global: ONCE, host: () => ONCE },
  });
  const { ID: lease } = await client.leaseClient.leaseGrant({ TTL: 300 });
  return {
    async acquire(name) {
      const key = Buffer.from(name);
      await client.kv.txn({
        compare: [{ target: "Create", result: "Equal", key, create_revision: "0" }],
        success: [{ request_put: { key, lease } }],
      });
      return () =>
        client.kv.txn({
          compare: [{ target: "Lease", result: "Equal", key, lease }],
          success: [{ request_delete_range: { key } }],
        });
    },
    close: () => Promise.resolve(client.close()),
  };
};
