/** The test that every fence has to pass, on a real store, with a real process that is stopped. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { sqlite } from "../../backends/sqlite.ts";
import { LockManager } from "../../mod.ts";
import { script } from "../servers/script.ts";
import { open, type Place } from "./resources.ts";

/** Milliseconds: the stop lasts until another holds. */
const TTL = 1_000;

/**
 * A holder is stopped past its ttl, another takes over and writes, the first goes on and writes: it is
 * refused, and what the other has written stands.
 */
export async function writesLate(place: Place, key: string = "a key/of {any} kind"): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-fence-"));
  const path = join(folder, "locks.db");
  const [binary, args] = script(new URL("./holder.ts", import.meta.url), [
    JSON.stringify(place),
    path,
    key,
    `${TTL}`,
  ]);
  const child = spawn(binary, args, { stdio: ["pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text) => errors += text);
  const ended = once(child, "close");
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const hear = async () => {
    const { value, done } = await said.next();
    assert.ok(!done, `the holder ended: ${errors}`);
    return JSON.parse(value);
  };
  try {
    await using resource = await open(place);
    const first = await hear();
    assert.equal(first.event, "wrote");
    assert.equal(await resource.read(), "of the first");
    process.kill(child.pid!, "SIGSTOP");
    await using locks = new LockManager(sqlite(path));
    await using lock = await locks.acquire(key);
    await resource.write(lock.key, lock.token, "of the second");
    child.stdin.write("go on\n");
    process.kill(child.pid!, "SIGCONT");
    const late = await hear();
    const expected = { code: "stale", key, token: first.token, seen: String(lock.token) };
    assert.deepEqual(late, { event: "refused", ...expected });
    assert.equal(await resource.read(), "of the second");
    await resource.write(lock.key, lock.token, "of the second, again");
    assert.equal(await resource.read(), "of the second, again");
  } finally {
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true });
  }
}
