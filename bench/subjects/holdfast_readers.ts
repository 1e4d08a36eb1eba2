import { connect } from "../../connect.ts";
import type { Open } from "./subject.ts";

/** Ours, where all are readers of one key. */
export const open: Open = (address, ttl) => {
  const locks = connect(address, { ttl });
  return Promise.resolve({
    async acquire() {
      const lock = await locks.acquire("readers", { mode: "shared" });
      return () => lock.release();
    },
    close: () => locks.close(),
  });
};
