/** What goes wrong in the process and the machine around the file, and what becomes of the locks. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { openDatabase } from "../../backends/sqlite/client/database.ts";
import { LockManager } from "../../mod.ts";
import { Child } from "./child.ts";
import { Scene } from "./scene.ts";

const LONG = { ttl: 120_000 };

function canMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", folder], { stdio: "ignore" });
    execFileSync("umount", [folder]);
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(folder);
  }
}

describe("out of file descriptors", () => {
  // Red if: something that fails in the background is handled by nobody, or a want that passes counts as final.
  test("the first lock of a process fails by name, and works once some are free", async () => {
    for (let free = 0; free <= 9; free++) {
      await using scene = new Scene();
      await using child = await Child.start(scene.path, { descriptors: 150, retryFor: 0 });
      await child.does("exhaust", `${free}`);
      const first = await child.does("tryAcquire", "k", LONG).catch((error) => error);
      if (first instanceof Error) {
        assert.match(first.message, /no file descriptor left.*ulimit -n/, `${free} free`);
      } else assert.ok(first.held);
      await child.does("relent");
      if (first instanceof Error) assert.ok((await child.does("tryAcquire", "k", LONG)).held);
      await child.does("release", "k");
      await child.does("close");
    }
  });
});

describe("a fault that passes is waited for, and named if it does not pass", () => {
  // Red if: a transaction that another program has left open is an answer that never came.
  test("a foreign writer", async () => {
    await using scene = new Scene();
    await using locks = new LockManager(scene.backend(), { retryFor: 0, ttl: 30_000 });
    await (await locks.acquire("k")).release();
    const writer = openDatabase(scene.path, { readOnly: false });
    writer.exec("BEGIN IMMEDIATE");
    await assert.rejects(locks.acquire("k"), {
      code: "backend",
      retryable: true,
      message: /somebody else keeps it locked/,
    });
    writer.exec("COMMIT");
    writer.close();
    await (await locks.acquire("k")).release();
  });

  // Red if: a full disk is final, does not say so, or costs a lock that is held.
  test("a full disk", { skip: canMount() ? false : "only the superuser can make a small disk" }, async () => {
    await using scene = new Scene();
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=300k", "tmpfs", scene.folder]);
    try {
      await using locks = new LockManager(scene.backend(), { retryFor: 0, metadata: "x".repeat(4_000) });
      const held = await locks.acquire("k");
      const filler = openSync(join(scene.folder, "filler"), "w");
      assert.throws(() => {
        for (;;) writeSync(filler, new Uint8Array(1_024));
      });
      closeSync(filler);
      await assert.rejects(async () => {
        for (let count = 0; count < 100; count++) await locks.acquire(`${count}`);
      }, { code: "backend", retryable: true, message: /its disk is full. Free some space/ });
      rmSync(join(scene.folder, "filler"));
      await (await locks.acquire("again")).release();
      await held.renew();
      assert.equal(await held.release(), true);
      await locks.close();
    } finally {
      execFileSync("umount", ["--lazy", scene.folder]);
    }
  });
});
