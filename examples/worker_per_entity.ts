/**
 * Many workers, many entities (tenants, cities, devices), and exactly one worker for each entity.
 *
 * A worker takes what nobody has, up to its capacity, and looks again from time to time: when a worker dies,
 * its entities are free once its ttl is over, and others take them. It looks before each write whether it
 * still has the entity.
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { appendFile, readFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const ENTITIES = ["amsterdam", "berlin", "cairo", "delhi"];
const CAPACITY = 2;
const ENOUGH = Number(process.argv[2] ?? 5); // the example ends; a worker goes on

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:");
const serving = new Set<string>();
const served = new Set<string>();
while (served.size < ENTITIES.length) {
  for (const entity of ENTITIES) {
    if (serving.size === CAPACITY || serving.has(entity)) continue;
    if (await count(entity) >= ENOUGH) {
      served.add(entity);
      continue;
    }
    const lock = await locks.tryAcquire(`entity:${entity}`);
    if (lock !== undefined) void serve(entity, lock);
  }
  await sleep(200);
}
console.log("all are served");

async function serve(entity: string, lock: Lock): Promise<void> {
  await using _ = lock;
  serving.add(entity);
  console.log(`serves ${entity}`);
  for (let done = await count(entity); done < ENOUGH; done++) {
    await sleep(100);
    if (!lock.held) break; // somebody else serves it now
    await appendFile(`${entity}.log`, `${process.pid}\n`);
  }
  serving.delete(entity);
}

/** How much has been done for an entity, whoever did it. */
async function count(entity: string): Promise<number> {
  const text = await readFile(`${entity}.log`, "utf8").catch(() => "");
  return text.split("\n").length - 1;
}

// Prints:
// serves amsterdam
// serves berlin
// serves cairo
// serves delhi
// all are served
