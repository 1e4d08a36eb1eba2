import postgres from "postgres";
import type { Open } from "../subject.ts";

/** The server's own lock of a session, by hand: each that is held or waited for takes a connection. */
export const open: Open = (address) => {
  const sql = postgres(address, { max: 20 });
  return Promise.resolve({
    async acquire(key) {
      const session = await sql.reserve();
      await session`SELECT pg_advisory_lock(hashtextextended(${key}, 0))`;
      return async () => {
        await session`SELECT pg_advisory_unlock(hashtextextended(${key}, 0))`;
        session.release();
      };
    },
    close: () => sql.end(),
  });
};
