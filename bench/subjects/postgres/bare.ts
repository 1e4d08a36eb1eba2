import postgres from "postgres";
import type { Open } from "../subject.ts";

/** The least that a lock can do: a row unless it is there, and no row if it is ours. No queue, no token. */
export const open: Open = async (address) => {
  const sql = postgres(address, { max: 1, onnotice: () => {} });
  await sql`CREATE TABLE IF NOT EXISTS bare (key text PRIMARY KEY, owner text)`;
  return {
    async acquire(key) {
      const owner = crypto.randomUUID();
      await sql`INSERT INTO bare VALUES (${key}, ${owner}) ON CONFLICT DO NOTHING`;
      return () => sql`DELETE FROM bare WHERE key = ${key} AND owner = ${owner}`;
    },
    close: () => sql.end(),
  };
};
