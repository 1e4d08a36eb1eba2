/** The command line at a real terminal: jobs, keys, the live line, colours. `script` of util-linux is the terminal. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { waiter } from "../support.ts";
import { commandLine, gone, Scene, standingOf, type Started, stopped } from "./holdfast.ts";

const options = process.platform === "linux" ? {} : { skip: "its script has other options" };

/** What keys send. */
const CTRL_C = "\x03";
const CTRL_Z = "\x1a";

/** A shell that hears a signal soon: it is in a loop of short waits. */
const LOOP = "while :; do sleep 0.05; done";

/** The head of a table, in colour. */
const DIM = "\x1b[2mKEY";

/** Starts a shell command at a terminal of its own; `holdfast` in it is the command line. */
function terminal(scene: Scene, command: string, env: Readonly<Record<string, string>> = {}): Started {
  const [program, args] = commandLine([]);
  const quoted = [program, ...args].map((word) => `'${word}'`).join(" ");
  const file = join(scene.folder, "holdfast");
  writeFileSync(file, `#!/bin/sh\nexec ${quoted} "$@"\n`, { mode: 0o755 });
  const path = `${scene.folder}:${process.env.PATH}`;
  return scene.spawn("script", ["-qefc", command, "/dev/null"], { SHELL: "/bin/sh", PATH: path, ...env });
}

/** An interactive shell, which knows jobs. */
function shell(scene: Scene): Started {
  return terminal(scene, "exec sh -i", { PS1: "$ ", ENV: "" });
}

test(
  "the command has the terminal: it is in the foreground, reads from it, and finds it as /dev/tty",
  options,
  async () => {
    await using scene = new Scene();
    const holdfast = terminal(
      scene,
      `holdfast run k -- sh -c '[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo tty $$; read a; read b </dev/tty; echo "<$a$b>"; exit 4'`,
    );
    const pid = Number((await holdfast.says(/tty (\d+)/))[1]);
    assert.equal(standingOf(pid).group, pid);
    assert.equal(standingOf(pid).foreground, pid);
    holdfast.type("one\ntwo\n");
    await holdfast.says(/<onetwo>/);
    assert.equal((await holdfast.ended).status, 4);
  },
);

test("Ctrl-C is the command's, and so is a second one", options, async () => {
  await using scene = new Scene();
  const holdfast = terminal(
    scene,
    `holdfast run k -- sh -c "trap 'n=x\\$n; echo got \\$n' INT; echo ready; while :; do sleep 0.05; done"`,
  );
  await holdfast.says(/ready/);
  holdfast.type(CTRL_C);
  await holdfast.says(/got x\r/);
  holdfast.type(CTRL_C);
  await holdfast.says(/got xx\r/);
  assert.notEqual(await scene.locks.inspect("k"), undefined);
  const other = terminal(scene, "holdfast run other -- sh -c 'echo ready; exec sleep 100'");
  await other.says(/ready/);
  other.type(CTRL_C);
  assert.equal((await other.ended).status, 130);
});

test("a new size of the window is told to the command", options, async () => {
  await using scene = new Scene();
  const holdfast = terminal(
    scene,
    `holdfast run k -- sh -c "trap 'told=1; echo changed' WINCH; stty rows 33 cols 99; until [ \\$told ]; do sleep 0.05; done; stty size"`,
  );
  await holdfast.says(/changed\r\n33 99/);
  assert.equal((await holdfast.ended).status, 0);
});

test("Ctrl-Z gives the shell back, fg goes on with the command", options, async () => {
  await using scene = new Scene();
  const sh = shell(scene);
  sh.type("holdfast run --ttl 1h k -- sh -c 'echo begun $$; read a; echo \"<$a>\"; exit 6'\n");
  const pid = Number((await sh.says(/begun (\d+)/))[1]);
  sh.type(CTRL_Z);
  await sh.says(/Stopped/);
  await stopped(pid);
  sh.type("echo back $((1 + 1))\n");
  await sh.says(/back 2/);
  sh.type("fg\n");
  await stopped(pid, false);
  sh.type("again\n");
  await sh.says(/<again>/);
  sh.type("echo status $?\n");
  await sh.says(/status 6/);
});

test("where no shell could continue it, Ctrl-Z does not stop the command", options, async () => {
  await using scene = new Scene();
  // It starts no other program: one that is stopped just then would keep its parent from being stopped.
  const holdfast = terminal(
    scene,
    `exec holdfast run k -- sh -c "trap 'echo continued' CONT; echo ready; while :; do read a; done"`,
  );
  await holdfast.says(/ready/);
  holdfast.type(CTRL_Z);
  await holdfast.says(/continued/);
  holdfast.type(CTRL_C);
  assert.equal((await holdfast.ended).status, 130);
});

test("a command that is stopped when its lock is over is ended, and is not continued", options, async () => {
  await using scene = new Scene();
  const sh = shell(scene);
  sh.type("holdfast run --ttl 6s --grace 100ms k -- sh -c 'echo begun $$; read a; echo went on'\n");
  await sh.says(/begun \d+/);
  sh.type(CTRL_Z);
  await sh.says(/Stopped/);
  // Whoever is next has it while the job is still stopped.
  await (await scene.locks.acquire("k")).release();
  sh.type("fg\n");
  await sh.says(/Lock "k" was lost/);
  sh.type("\necho status $?\n");
  await sh.says(/status 76/);
  assert.doesNotMatch(sh.out, /\nwent on/);
});

test("in the background, and in a pipeline, the terminal is left to others", options, async () => {
  await using scene = new Scene();
  const sh = shell(scene);
  sh.type("holdfast run k -- sh -c 'echo done in $((1 + 1))' &\n");
  await sh.says(/done in 2/);
  sh.type("wait; holdfast run k -- echo piped | sed s/piped/through/\n");
  await sh.says(/[\r\n]through/);
});

test("a command in the background takes no keys from the shell", options, async () => {
  await using scene = new Scene();
  const sh = shell(scene);
  sh.type("holdfast run k -- sh -c 'cat; echo end of input $((1 + 1))' &\n");
  await sh.says(/end of input 2/);
});

test("another program of the pipeline may have the terminal", options, async () => {
  await using scene = new Scene();
  const sh = shell(scene);
  sh.type(
    `holdfast run k -- sh -c 'echo begun $((1 + 1)) >&2; ${LOOP}' | sh -c 'read a </dev/tty; echo "<$a>"; exit'\n`,
  );
  await sh.says(/begun 2/);
  sh.type("typed\n");
  await sh.says(/<typed>/);
  sh.type(CTRL_C);
});

test(
  "a terminal that goes ends the command, or leaves one that wants to go on its lock",
  options,
  async () => {
    await using scene = new Scene();
    for (const trap of ["", "trap '' HUP; "]) {
      const holdfast = terminal(scene, `holdfast run k -- sh -c "${trap}echo begun; ${LOOP}"`);
      await holdfast.says(/begun/);
      const { pid } = (await scene.locks.inspect("k"))!.holders[0]!.metadata as { pid: number };
      holdfast.kill("SIGKILL");
      await holdfast.ended;
      if (trap !== "") {
        // What it has to say of its loss nobody reads any more.
        assert.equal(await scene.locks.tryAcquire("k"), undefined);
        await (await scene.locks.acquire("k", { steal: true })).release();
      }
      await gone(pid);
      await (await scene.locks.acquire("k")).release();
    }
  },
);

test(
  "who waits sees the place, who holds and since when, in a line that is kept up to date",
  options,
  async () => {
    await using scene = new Scene();
    const since = new Date(Date.now() - 3_600_000).toISOString();
    const first = await scene.locks.acquire("k", {
      metadata: { host: "db-1", pid: 7, command: "backup", since },
    });
    const second = await waiter(scene.locks, "k");
    const holdfast = terminal(scene, "stty cols 120; holdfast run k -- echo ours");
    await holdfast.says(
      /waiting for "k", number 2 in the queue; held by backup \(pid 7 on db-1\), which asked at \d\d:\d\d:\d\d \(60m ago\)/,
    );
    await first.release();
    await holdfast.says(/waiting for "k", number 1 in the queue; held since \d\d:\d\d:\d\d \(\S+ ago\) by /);
    await (await second.lock).release();
    assert.ok((await holdfast.ended).out.endsWith("\r\x1b[Kours\r\n"));
    assert.equal((await holdfast.ended).status, 0);
  },
);

test(
  "a terminal of few columns gets a narrow table, one that knows no cursor whole lines",
  options,
  async () => {
    await using scene = new Scene();
    await using _ = await scene.locks.acquire("k");
    const narrow = await terminal(scene, "stty cols 5; holdfast inspect k; holdfast ls; holdfast doctor")
      .ended;
    assert.equal(narrow.status, 0);
    assert.match(narrow.out, /h… {2}e…/);
    const dumb = terminal(scene, "holdfast run k -- true", { TERM: "dumb" });
    await dumb.says(/^holdfast: waiting for "k", number 1 in the queue; held by .*\r\n/);
    dumb.type(CTRL_C);
    await dumb.ended;
    assert.ok(!dumb.out.includes("\x1b"));
  },
);

test("colours are for terminals, unless NO_COLOR or FORCE_COLOR say otherwise", options, async () => {
  await using scene = new Scene();
  await using _ = await scene.locks.acquire("k");
  const at = async (env: Record<string, string>) => (await terminal(scene, "holdfast ls", env).ended).out;
  assert.ok((await at({})).includes(DIM));
  assert.ok(!(await at({ NO_COLOR: "1" })).includes("\x1b"));
  assert.ok(!(await at({ TERM: "dumb" })).includes("\x1b"));
  assert.ok(!(await scene.run(["ls"])).out.includes("\x1b"));
  assert.ok((await scene.run(["ls"], { FORCE_COLOR: "1" })).out.includes(DIM));
  assert.ok(!(await scene.run(["ls"], { FORCE_COLOR: "0" })).out.includes("\x1b"));
});
