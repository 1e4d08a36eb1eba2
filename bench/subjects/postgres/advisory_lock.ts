import advisory from "advisory-lock";
import type { Open } from "../subject.ts";

/** The package: the server's own lock, with a new connection for each acquisition. */
export const open: Open = (address) => {
  const locks = advisory.default(address);
  return Promise.resolve({
    acquire: (key) => locks(key).lock(),
    close: () => Promise.resolve(),
  });
};
