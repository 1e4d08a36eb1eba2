import { faults } from "./faults.ts";
import { stores } from "./grounds.ts";
import type { Failure } from "./matrix.ts";
import type { Result } from "./trial.ts";

const INTRODUCTION = `# Faults

What happens to a lock when things go wrong: a real store behind a proxy, a holder in a process of its own, the next in line, and a ledger that refuses stale tokens. \`deno task faults\` makes this table.

- **handed on**: the next got the lock; the number is the *lead*, how many milliseconds before that the old holder's signal had aborted. Above 0 is the promise.
- **freed**: the holder is gone; the lead is from the moment it could no longer have believed to hold, and may be negative where the store can tell that it is gone.
- **kept**: the holder held all along, its release was confirmed, and only then the next got the lock.
- **told late**: the store forgot the lock, or was made to; the holder is told at its next renewal. This is what the store's documentation does not promise, and what the fencing token is for.

The letter is the runtime of the holder: Deno, Bun or Node. Of Redlock's three nodes one is restarted, killed, or has its clock stepped. When Postgres's primary is killed, its synchronous replica is promoted.

An empty cell cannot be tried: between SQLite and its file there is no network; etcd and Consul, being Go programs, have no clock that could be stepped apart from the machine's; and a Java program under a stepped clock waits in ways in which it does not when a machine's clock is set back.
`;

/** The results as a page. */
export function table(results: readonly (Result | Failure)[]): string {
  const shown = stores.filter(({ name }) => results.some(({ store }) => store === name));
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rows = faults.map(({ name }) => [
    name,
    ...shown.map((store) =>
      cell(results.find((result) => result.fault === name && result.store === store.name))
    ),
  ]);
  const head = ["fault", ...shown.map(({ name }) => name)];
  return [INTRODUCTION, row(head), row(head.map(() => "---")), ...rows.map(row), ""].join("\n");
}

function cell(result: Result | Failure | undefined): string {
  if (result === undefined) return "";
  const runtime = result.runtime[0]!.toUpperCase();
  if ("error" in result) return `**FAILED** ${runtime}`;
  const lead = result.lead === undefined ? "" : ` ${Math.round(result.lead)}`;
  return `${result.outcome}${lead} ${runtime}`;
}
