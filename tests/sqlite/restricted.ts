/**
 * What can be done under few rights: `restricted.ts PATH once|conformance`. An empty path is the default one. It
 * tries everything but what needs other rights itself, and says how it went.
 */
import process from "node:process";
import { acquire, LockManager } from "../../mod.ts";
import { sqlite } from "../../backends/sqlite.ts";
import { conformance } from "../conformance/mod.ts";

const [path, suite] = process.argv.slice(2) as [string, string];
let [passed, failed] = [0, 0];

async function attempt(name: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
    passed++;
  } catch (error) {
    failed++;
    console.log(name, `${(error as Error).message}`);
  }
}

if (suite === "once") {
  await attempt("once", async () => {
    if (path === "") await (await acquire("k")).release();
    else {
      await using locks = new LockManager(sqlite(path), { retryFor: 0 });
      await (await locks.acquire("k")).release();
    }
  });
} else {
  const file = `${path}.conformance`;
  const cases = conformance({ name: "restricted", open: () => sqlite(file) }).values();
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (const { name, group, run } of cases) await attempt(`${group}: ${name}`, run);
  }));
}
console.log(`passed ${passed}, failed ${failed}`);
process.exit(0);
