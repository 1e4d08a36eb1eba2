/** What processes that share a lock file see of each other. Each test names what makes it go red. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { runtimes } from "../runner/runtimes.ts";
import { Child } from "./child.ts";
import { Scene } from "./scene.ts";

/** Milliseconds: so long that nothing is over by it within a test. */
const LONG = { ttl: 120_000 };
/** Milliseconds: far below `LONG`, far above what a busy machine takes. */
const SOON = 10_000;
/** Milliseconds: that a test waits for, and that no pause of a process takes. */
const SHORT = { ttl: 4_000 };

/** A process that watches a lock, and another one that holds it. */
async function watched({ path }: Scene): Promise<{ watcher: Child; holder: Child }> {
  const watcher = await Child.start(path);
  await watcher.does("watch");
  const holder = await Child.start(path);
  await holder.does("acquire", "k", LONG);
  await watcher.hears("locked");
  return { watcher, holder };
}

// Red if: a runtime opens another file, or does not wake another one.
test("a Deno, a Bun and a Node process take turns, in order of arrival, without waiting for a ttl", async () => {
  await using scene = new Scene();
  const children = await Child.all(scene.path);
  try {
    const tokens: bigint[] = [];
    for (let round = 0; round < 3; round++) {
      let holder = await children[0]!.does("acquire", "k", LONG);
      tokens.push(BigInt(holder.token!));
      const waiting = [];
      for (const child of children.slice(1)) {
        waiting.push(child.does("acquire", "k", LONG));
        await child.hears("waiting");
      }
      for (const [index, next] of waiting.entries()) {
        const { since } = await children[index]!.does("release");
        holder = await next;
        assert.ok(holder.at >= since!, "nobody holds before the release");
        assert.ok(holder.at - since! < SOON, "and the next one soon after");
        tokens.push(BigInt(holder.token!));
      }
      await children.at(-1)!.does("release");
    }
    assert.deepEqual(tokens, tokens.toSorted((a, b) => Number(a - b)));
    assert.equal(new Set(tokens).size, tokens.length);
  } finally {
    for (const child of children) await child[Symbol.asyncDispose]();
  }
});

// Red if: the end of a connection is not taken for a reason to look whether its process has ended.
test("a killed holder's lock is handed on at once, past a killed waiter", async () => {
  await using scene = new Scene();
  const [holder, waiter, heir] = await Promise.all([1, 2, 3].map(() => Child.start(scene.path)));
  await using _1 = holder!, _2 = waiter!, _3 = heir!;
  const first = await holder!.does("acquire", "k", LONG);
  void waiter!.does("acquire", "k", LONG);
  await waiter!.hears("waiting");
  const second = heir!.does("acquire", "k", LONG);
  await heir!.hears("waiting");
  waiter!.signal("SIGKILL");
  await waiter!.ended;
  const killed = Date.now();
  holder!.signal("SIGKILL");
  const { at, token } = await second;
  assert.ok(at - killed < SOON, `after ${at - killed} ms`);
  assert.ok(BigInt(token!) > BigInt(first.token!));
});

// Red if: an end that is not a kill leaves no trace by which others can tell.
test("the lock of a holder that exits without releasing it is handed on at once", async () => {
  await using scene = new Scene();
  await using holder = await Child.start(scene.path);
  await using heir = await Child.start(scene.path);
  await holder.does("acquire", "k", LONG);
  const next = heir.does("acquire", "k", LONG);
  await heir.hears("waiting");
  const ended = Date.now();
  void holder.does("exit");
  const { at } = await next;
  assert.ok(at - ended < SOON, `after ${at - ended} ms`);
});

// Red if: the end of its process frees a key that is to stay taken, or its ttl does not.
test("a key that is to stay taken outlives its process, by its ttl", async () => {
  await using scene = new Scene();
  await using heir = await Child.start(scene.path);
  for (const end of ["exit", "close", "kill"]) {
    await using holder = await Child.start(scene.path);
    await holder.does("acquire", "plain", LONG);
    await holder.does("acquire", "held", { ...LONG, atLeast: 1 });
    await holder.does("acquire", "released", { ...LONG, atLeast: LONG.ttl });
    await holder.does("release", "released");
    await holder.does("acquire", "short", { ...SHORT, atLeast: LONG.ttl });
    await holder.does("release", "short");
    const short = heir.does("acquire", "short", LONG);
    await heir.hears("waiting");
    if (end === "kill") holder.signal("SIGKILL");
    else await holder.does(end).catch(() => {});
    holder.leave();
    await holder.ended;
    await heir.does("acquire", "plain", LONG);
    await heir.does("release", "plain");
    if (end !== "close") assert.equal((await heir.does("tryAcquire", "held")).held, false, end);
    assert.equal((await heir.does("tryAcquire", "released")).held, false, end);
    await short;
    await heir.does("release", "short");
    for (const key of ["held", "released"]) {
      await heir.does("acquire", key, { ...LONG, steal: true });
      await heir.does("release", key);
    }
  }
});

// Red if: tryAcquire does not ask whether those ahead of it have ended.
test("a lock whose holder was killed is free for one that does not wait", async () => {
  await using scene = new Scene();
  await using holder = await Child.start(scene.path);
  await using other = await Child.start(scene.path);
  await holder.does("acquire", "k", LONG);
  assert.equal((await other.does("tryAcquire", "k", LONG)).held, false);
  holder.signal("SIGKILL");
  await holder.ended;
  assert.equal((await other.does("tryAcquire", "k", LONG)).held, true);
});

// Red if: a process that does not answer counts as one that has ended.
test("a stopped holder keeps its lock for its ttl, and knows that it is lost when it goes on", async () => {
  await using scene = new Scene();
  await using holder = await Child.start(scene.path);
  await using other = await Child.start(scene.path);
  const asked = Date.now();
  await holder.does("acquire", "k", SHORT);
  holder.signal("SIGSTOP");
  assert.equal((await other.does("tryAcquire", "k", LONG)).held, false);
  const { at } = await other.does("acquire", "k", LONG);
  assert.ok(at - asked >= SHORT.ttl - 50, `only after ${at - asked} ms`);
  holder.signal("SIGCONT");
  const { held, aborted } = await holder.does("look");
  assert.deepEqual([held, aborted], [false, true]);
});

// Red if: a thief does not tell its victim's process, or that does not look.
test("a victim in another process is told at once", async () => {
  await using scene = new Scene();
  await using victim = await Child.start(scene.path);
  await using thief = await Child.start(scene.path);
  const first = await victim.does("acquire", "k", LONG);
  const { token } = await thief.does("acquire", "k", { ...LONG, steal: true });
  assert.ok(BigInt(token!) > BigInt(first.token!));
  assert.equal((await victim.hears("lost")).reason, "stolen");
});

// Red if: only who wants the lock looks whether its holder has ended.
test("a watch and an inspection see the end of a killed holder long before its ttl", async () => {
  await using scene = new Scene();
  const { watcher, holder } = await watched(scene);
  await using _1 = watcher, _2 = holder;
  assert.equal((await watcher.does("inspect")).holders, 1);
  const killed = performance.timeOrigin + performance.now();
  holder.signal("SIGKILL");
  await holder.ended;
  const { at } = await watcher.hears("unlocked");
  assert.ok(at - killed < SOON, `after ${at - killed} ms`);
  await holder[Symbol.asyncDispose]();
  await using other = await Child.start(scene.path);
  await other.does("acquire", "j", LONG);
  other.signal("SIGKILL");
  await other.ended;
  assert.equal((await watcher.does("inspect", "j")).holders, 0);
});

// Red if: a worker's socket is its primary's, and closes with the way to that.
test("a worker of a cluster that has left its primary still hands on, and still hears", async () => {
  await using scene = new Scene();
  await using worker = await Child.start(scene.path, { script: "cluster_primary" });
  await using other = await Child.start(scene.path);
  await worker.does("acquire", "k", LONG);
  await worker.does("disconnect");
  const next = other.does("acquire", "k", LONG);
  await other.hears("waiting");
  const { since } = await worker.does("release");
  assert.ok((await next).at - since! < SOON);
  const again = worker.does("acquire", "k", LONG);
  await worker.hears("waiting");
  const { since: later } = await other.does("release");
  assert.ok((await again).at - later! < SOON);
});

// Red if: a first claim of a new process is not told to those who watch the key.
test("a watch sees the locks of other processes, of new ones too", async () => {
  await using scene = new Scene();
  await using watcher = await Child.start(scene.path);
  await watcher.does("watch");
  await using other = await Child.start(scene.path);
  const { token } = await other.does("acquire", "k", LONG);
  assert.equal((await watcher.hears("locked")).token, token);
  await other.does("release");
  await watcher.hears("unlocked");
  await watcher.does("close");
});

// Red if: a socket, a file or a timer of the backend keeps the process alive.
test("a process that neither holds nor waits ends by itself; one that holds does not", async () => {
  await using scene = new Scene();
  await using idle = await Child.start(scene.path);
  await using holder = await Child.start(scene.path);
  for (const child of [idle, holder]) {
    await child.does("acquire", child === idle ? "a" : "b", LONG);
    await child.does("acquire", child === idle ? "c" : "d", LONG);
  }
  await idle.does("release", "a");
  await idle.does("release", "c");
  await holder.does("release", "b");
  idle.leave();
  holder.leave();
  assert.equal(await idle.ended, 0);
  assert.equal(await Promise.race([holder.ended, sleep(300, "alive")]), "alive");
});

// Red if: telling keeps a process alive until it has been read.
test("a process can end that has told another one which is stopped; that hears of it later", async () => {
  await using scene = new Scene();
  await using watcher = await Child.start(scene.path);
  await watcher.does("watch");
  watcher.signal("SIGSTOP");
  await using other = await Child.start(scene.path);
  await other.does("acquire", "k", LONG);
  await other.does("release");
  await other.does("acquire", "k", LONG);
  await other.does("release");
  other.leave();
  assert.equal(await other.ended, 0);
  await using last = await Child.start(scene.path);
  const { token } = await last.does("acquire", "k", LONG);
  watcher.signal("SIGCONT");
  assert.equal((await watcher.hears("locked")).token, token);
});

// Red if: closing cuts off what was to be told.
test("a watch sees the end of a lock whose process leaves right after it", async () => {
  await using scene = new Scene();
  const { watcher, holder } = await watched(scene);
  await using _1 = watcher, _2 = holder;
  const { at: left } = await holder.does("close");
  const { at } = await watcher.hears("unlocked");
  assert.ok(at - left < SOON, `${at - left} ms after it`);
});

// Red if: a lock on a file is all that proves life. POSIX drops it when its process closes that file anywhere.
test("a holder that reads all the files of its data folder keeps its lock", async () => {
  await using scene = new Scene();
  for (const runtime of runtimes) {
    await using holder = await Child.start(scene.path, { runtime });
    await using other = await Child.start(scene.path);
    await holder.does("acquire", runtime.name, LONG);
    await holder.does("backup");
    assert.equal((await other.does("tryAcquire", runtime.name, LONG)).held, false, runtime.name);
    holder.does("block", join(scene.folder, "never")).catch(() => {});
    await holder.hears("blocking");
    assert.equal((await other.does("tryAcquire", runtime.name, LONG)).held, false, runtime.name);
  }
});

// Red if: who opens a file that others are just closing takes it for another one; or a session that has closed
// opens the file again for what still goes on behind it, and stays.
test("processes that open and close all the time exclude each other, and leave nothing", async () => {
  await using scene = new Scene();
  const times = 40;
  writeFileSync(`${scene.path}.count`, "0 0");
  const children = await Child.all(scene.path);
  try {
    await Promise.all(children.map((child) => child.does("churn", "k", { times })));
    const [count] = readFileSync(`${scene.path}.count`, "utf8").split(" ");
    assert.equal(Number(count), times * children.length);
    assert.deepEqual(readdirSync(`${scene.path}-peers`), []);
  } finally {
    for (const child of children) await child[Symbol.asyncDispose]();
  }
});
