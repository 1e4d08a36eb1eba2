/** What else locks by Postgres. */
import postgres from "postgres";

/** Gives out a lock and takes it back. */
export interface Peer {
  /** Waits for the lock; what it resolves to releases it. */
  acquire(key: string): Promise<() => Promise<unknown>>;
  /** Closes its connections. */
  close(): Promise<void>;
}

/** The server's own lock of a session, by hand: each lock that is held or waited for takes a connection. */
async function advisory(url: string): Promise<Peer> {
  const sql = postgres(url, { max: 1 });
  return {
    async acquire(key) {
      await sql`SELECT pg_advisory_lock(hashtextextended(${key}, 0))`;
      return () => sql`SELECT pg_advisory_unlock(hashtextextended(${key}, 0))`;
    },
    close: () => sql.end(),
  };
}

/** The package: the same, with a new connection for each acquisition. */
async function advisoryLock(url: string): Promise<Peer> {
  const { default: advisory } = await import("advisory-lock");
  const locks = advisory.default(url);
  return {
    acquire: (key) => locks(key).lock(),
    close: () => Promise.resolve(),
  };
}

/** By their names. */
export const PEERS: Readonly<Record<string, (url: string) => Promise<Peer>>> = {
  "pg_advisory_lock": advisory,
  "advisory-lock": advisoryLock,
};
