/**
 * Another file in the place of the one that is open is not believed, nor is a part of one.
 *
 * A lock file is three files. Whichever of them is removed or replaced under a holder, by whatever script: nobody
 * else gets the lock while the holder may believe to have it, and tokens rise all the same.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, renameSync, rmSync } from "node:fs";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openDatabase } from "../../backends/sqlite/client/database.ts";
import { BackendError, type Lock, LockManager } from "../../mod.ts";
import { runtimes } from "../runner/runtimes.ts";
import { thisRuntime } from "../servers/script.ts";
import { Child, command } from "./child.ts";
import { Scene } from "./scene.ts";

const remove = (...ends: string[]) => (path: string) => ends.forEach((end) => rmSync(path + end));

/** Opens the file as an administrator would, who knows nothing of us, in a process of its own. */
function visit(path: string): void {
  const [binary, ...args] = command("visit", path);
  execFileSync(binary!, args);
}

const accidents: Record<string, (path: string) => void> = {
  "-wal is removed": remove("-wal"),
  "-shm is removed": remove("-shm"),
  "-wal and -shm are removed": remove("-wal", "-shm"),
  "-wal and -shm are removed, and another program opens the file": (path) => {
    remove("-wal", "-shm")(path);
    visit(path);
  },
  "the file is removed": remove(""),
  "the file is renamed": (path) => renameSync(path, `${path}.old`),
  "all three are removed": remove("", "-wal", "-shm"),
};

const manager = (scene: Scene) => new LockManager(scene.backend(), { retryFor: 0, ttl: 60_000 });

/** What a newcomer is told. */
function refused(error: unknown): true {
  assert.ok(error instanceof BackendError, String(error));
  assert.match(error.message, /-wal or its -shm was removed or replaced while another process had it open/);
  assert.equal(error.retryable, true);
  return true;
}

for (const [what, happens] of Object.entries(accidents)) {
  describe(what, () => {
    // Red if: who opens the file does not look whether somebody else has other ones open.
    test("under a holder: nobody gets the lock before the holder knows that it is lost", async () => {
      await using scene = new Scene();
      await using ours = manager(scene);
      const first = await ours.acquire("k");
      happens(scene.path);
      await using theirs = manager(scene);
      let second: Lock | undefined;
      for (let time = 0; time < 3 && second === undefined; time++) {
        second = await theirs.tryAcquire("k").catch((error) => void refused(error));
        // On a busy machine its regular look may have come in between.
        assert.ok(second === undefined || !first.held);
      }
      // The holder's next call, as its heartbeat would make it.
      await assert.rejects(first.renew(), { code: "lost", why: "revoked" });
      assert.ok(first.signal.aborted);
      second ??= await theirs.tryAcquire("k");
      assert.ok(second!.token > first.token, `${second!.token} > ${first.token}`);
      assert.equal(await ours.tryAcquire("k"), undefined, "it is in the new file, too");
      assert.equal(await first.release(), false);
      assert.equal(await second!.release(), true);
    });
  });
}

// Red if: a process that holds nothing keeps others out; or spoils the file when it leaves.
test("under somebody idle: others go on at once, and it follows them", async () => {
  await Promise.all(
    Object.entries(accidents).map(async ([what, happens]) => {
      await using scene = new Scene();
      const ours = new LockManager(scene.backend(), { retryFor: 60_000, ttl: 100 }); // its calls have a second
      const first = await ours.acquire("k");
      await first.release();
      await sleep(3_200); // until it can have held no more
      happens(scene.path);
      await using theirs = manager(scene);
      const second = await theirs.tryAcquire("k");
      assert.ok(second!.token > first.token, what);
      assert.equal(await ours.tryAcquire("k"), undefined, what);
      await ours.close();
      await using last = manager(scene);
      assert.equal(await last.tryAcquire("k"), undefined, `${what}: still there`);
      await second!.renew();
      const database = openDatabase(scene.path, { readOnly: true });
      const { integrity_check: found } = database.prepare("PRAGMA integrity_check").get() as Record<
        string,
        string
      >;
      database.close();
      assert.equal(found, "ok", what);
    }),
  );
});

// Red if: only who does something in the file finds out that it is another one.
test("under somebody idle who may have held for long: others need not wait for that", async () => {
  await Promise.all(
    Object.entries(accidents).map(async ([what, happens]) => {
      await using scene = new Scene();
      await using ours = new LockManager(scene.backend(), { ttl: 86_400_000 });
      const first = await ours.acquire("k");
      await first.release();
      happens(scene.path);
      await using theirs = new LockManager(scene.backend(), { retryFor: 60_000 });
      const second = await theirs.acquire("k");
      assert.ok(second.token > first.token, what);
    }),
  );
});

// Red if: a stopped process keeps others out for longer than its lock lasts, or for less.
test("a stopped holder keeps others out for its ttl, whatever was removed", async () => {
  await using scene = new Scene();
  await using holder = await Child.start(scene.path);
  const ttl = 2_000;
  const asked = Date.now();
  const { token } = await holder.does("acquire", "k", { ttl });
  holder.signal("SIGSTOP");
  remove("-wal", "-shm")(scene.path);
  await using theirs = new LockManager(scene.backend(), { retryFor: 60_000 });
  const lock = await theirs.acquire("k");
  assert.ok(Date.now() - asked > ttl - 50, `after ${Date.now() - asked} ms`);
  assert.ok(lock.token > BigInt(token!));
  holder.signal("SIGCONT");
  const { held, aborted } = await holder.does("look");
  assert.deepEqual([held, aborted], [false, true]);
});

// Red if: one runtime does not look after its files by itself, or not after all of them.
test("holders on all runtimes find out by themselves, before anybody else is let in", async () => {
  for (const happens of [remove("-wal", "-shm"), remove("", "-wal", "-shm")]) {
    await using scene = new Scene();
    const children = await Child.all(scene.path);
    try {
      for (const [index, child] of children.entries()) {
        await child.does("acquire", `k${index}`, { ttl: 10_000 });
      }
      happens(scene.path);
      await using locks = new LockManager(scene.backend(), { retryFor: 60_000 });
      const taken = children.map(async (_, index) => {
        await locks.acquire(`k${index}`);
        return performance.timeOrigin + performance.now();
      });
      for (const [index, child] of children.entries()) {
        const { at, reason } = await child.hears("lost");
        assert.match(reason!, /revoked|expired/);
        assert.ok(at <= await taken[index]!, "lost before it was taken");
      }
    } finally {
      for (const child of children) await child[Symbol.asyncDispose]();
    }
  }
});

// Red if: one who has the wrong files open keeps them open, and so keeps all from mending it.
test("processes that compete all the time go on, whatever is removed under them", async () => {
  const here = runtimes.findIndex(({ name }) => name === thisRuntime);
  // They are on all runtimes wherever this test runs: a third of it on each.
  const third = Object.entries(accidents).filter((_, index) => index % runtimes.length === here);
  for (const [what, happens] of third) {
    await using scene = new Scene();
    const children = await Child.all(scene.path);
    try {
      for (const child of children) await child.does("compete", "k", { ttl: 1_000 });
      for (const child of children) await child.hears("had");
      happens(scene.path);
      const since = performance.timeOrigin + performance.now();
      for (const child of children) {
        while ((await child.hears("had")).at < since + 3_000);
      }
      const { holders } = await children[0]!.does("inspect");
      assert.ok(holders! <= 1, what);
    } finally {
      for (const child of children) await child[Symbol.asyncDispose]();
    }
  }
});

// Red if: what is left of those who have ended keeps others out.
test("after all who had it open were killed, a newcomer goes on with whatever is left", async () => {
  for (const happens of Object.values(accidents)) {
    await using scene = new Scene();
    await using holder = await Child.start(scene.path);
    const { token } = await holder.does("acquire", "k", { ttl: 60_000 });
    holder.signal("SIGKILL");
    await holder.ended;
    happens(scene.path);
    await using locks = manager(scene);
    const lock = await locks.tryAcquire("k");
    assert.ok(lock!.token > BigInt(token!));
    await locks.close();
    assert.deepEqual(readdirSync(`${scene.path}-peers`), []);
  }
});
