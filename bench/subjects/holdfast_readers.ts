import { connect } from "../../connect.ts";
import type { Open } from "./subject.ts";

/** Ours, where all of a process are readers of one key. */
export const open: Open = (address, ttl) => {
  const locks = connect(address, { ttl });
  const key = `readers-${crypto.randomUUID()}`;
  return Promise.resolve({
    async acquire() {
      const lock = await locks.acquire(key, { mode: "shared" });
      return () => lock.release();
    },
    close: () => locks.close(),
  });
};
