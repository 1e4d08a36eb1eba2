import postgres from "postgres";
import type { Open, Signal } from "../subject.ts";

/** The floor of a hand-over: a `NOTIFY` in one process to its notification in the other. */
export const open: Open<Signal> = async (address) => {
  const sql = postgres(address, { max: 1 });
  let got: (() => void) | undefined;
  await sql.listen("floor", () => got?.());
  return {
    wait(waiting) {
      const notified = new Promise<void>((resolve) => got = resolve);
      waiting();
      return notified;
    },
    pass: () => sql`SELECT pg_notify('floor', '')`,
    close: () => sql.end(),
  };
};
