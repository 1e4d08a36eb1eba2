import postgres from "postgres";
import type { Subject } from "./subject.ts";

/** The floor of Postgres: a `NOTIFY` in one process to its notification in the other. */
export async function subject(url: string): Promise<Subject> {
  const sql = postgres(url, { max: 1 });
  let got: (() => void) | undefined;
  await sql.listen("floor", () => got?.());
  return {
    wait(waiting) {
      const notified = new Promise<void>((resolve) => got = resolve);
      waiting();
      return notified;
    },
    async pass() {
      await sql`SELECT pg_notify('floor', '')`;
    },
    close: () => sql.end(),
  };
}
