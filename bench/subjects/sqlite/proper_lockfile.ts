import lockfile from "proper-lockfile";
import type { Open } from "../subject.ts";

/** A folder for each lock, beside the file; who waits looks again and again. */
export const open: Open = (address, ttl) => {
  const options = {
    realpath: false,
    stale: Math.max(ttl, 2_000), // the least that it takes
    retries: { forever: true, minTimeout: 20, maxTimeout: 100 },
  };
  const base = new URL(address).pathname;
  return Promise.resolve({
    acquire: (key) => lockfile.lock(`${base}-${key.replaceAll(/\W/g, "-")}`, options),
    close: () => Promise.resolve(),
  });
};
