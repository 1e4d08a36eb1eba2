import { connect } from "../../connect.ts";
import type { Open } from "./subject.ts";

/** Ours, on any store. */
export const open: Open = (address, ttl) => {
  const locks = connect(address, { ttl });
  /** Who has not been told that it waits, by key, in the order of arrival. */
  const arrived = new Map<string, Set<() => void>>();
  locks.addEventListener("waiting", ({ key }) => {
    const [first] = arrived.get(key) ?? [];
    if (first === undefined) return;
    arrived.get(key)!.delete(first);
    first();
  });
  return Promise.resolve({
    async acquire(key, waiting) {
      if (waiting === undefined) {
        const lock = await locks.acquire(key);
        return () => lock.release();
      }
      const told = arrived.get(key) ?? new Set();
      arrived.set(key, told.add(waiting));
      const lock = await locks.acquire(key);
      told.delete(waiting);
      return () => lock.release();
    },
    close: () => locks.close(),
  });
};
