import { cells, table, tryAll } from "../sqlite/endings.ts";

const INTRODUCTION = `
## What frees a lock of SQLite before its ttl

The end of its holder, and nothing else: by the rows, what becomes of a holder inside a ttl of two minutes; by the columns, which runtime asks, and what it lacks. **freed**: the one who waited got the lock, so many milliseconds after the end of the holder. **kept**: nobody got it, neither who waited nor who tried again and again. The letter is the runtime of the holder.

`;

/** Tries all endings, if they are asked for. The page, and the promises that were broken. */
export async function endings(wanted: boolean): Promise<{ text: string; failures: string[] }> {
  if (!wanted) return { text: "", failures: [] };
  const results = await tryAll(cells);
  const failures = [...results].flatMap(([{ fate, want, asker, holder }, result]) =>
    result instanceof Error
      ? [`${fate.name} (${holder.name}), asked by ${asker.name} with ${want}: ${result.stack}`]
      : []
  );
  return { text: INTRODUCTION + table(results), failures };
}
