/**
 * A long job that shows its progress, stops as soon as its lock is lost, and goes on where it was once it has
 * it again.
 *
 * `lock.signal` ends what is under way, and is looked at once more before each write. The result is its own
 * checkpoint: each page is one write, so that neither is ahead of the other. A process that stops between the
 * look and the write may write late all the same: where that matters, let the resource check `lock.token`
 * (`fence_*.ts`).
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { appendFile, readFile } from "node:fs/promises";
import process from "node:process";

const SOURCE = process.env.SOURCE ?? "data:text/plain,page ";
const PAGES = 4;

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:");
for (let done = 0; done < PAGES;) {
  await using lock = await locks.acquire("import");
  try {
    done = await importPages(lock);
  } catch (error) {
    if (!lock.signal.aborted) throw error;
    console.log("has lost the lock, and stands in line again");
  }
}
console.log("done");

async function importPages(lock: Lock): Promise<number> {
  const before = await readFile("imported.txt", "utf8").catch(() => "");
  let done = before.split("\n").length - 1;
  while (done < PAGES) {
    const response = await fetch(`${SOURCE}${done + 1}`, { signal: lock.signal });
    const text = await response.text();
    lock.signal.throwIfAborted();
    await appendFile("imported.txt", `${text}\n`);
    console.log(`page ${++done} of ${PAGES}`);
  }
  return done;
}

// Prints:
// page 1 of 4
// page 2 of 4
// page 3 of 4
// page 4 of 4
// done
