/** `holdfast run` through pipes: what the command gets, what it gives back, and what becomes of the lock. */
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, until } from "../servers/process.ts";
import { waiter } from "../support.ts";
import { Scene, standingOf, stopped } from "./holdfast.ts";

const SIGNALS = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH"] as const;

test("the exit status is the command's, or 128 and the number of the signal that ended it", async () => {
  await using scene = new Scene();
  assert.equal((await scene.run(["run", "k", "--", "sh", "-c", "exit 3"])).status, 3);
  assert.equal((await scene.run(["run", "k", "--", "sh", "-c", "kill -TERM $$"])).status, 143);
  assert.equal((await scene.run(["run", "k", "--", "sh", "-c", "kill -KILL $$"])).status, 137);
});

test("a command that is not there is 127, one that is no program is 126, and the lock is free again", async () => {
  await using scene = new Scene();
  const file = join(scene.folder, "text");
  writeFileSync(file, "no program");
  chmodSync(file, 0o600);
  const PATH = scene.folder; // There is no sh in it, which would say the same in its own words.
  for (const env of [undefined, { PATH }]) {
    const missing = await scene.run(["run", "k", "--", "./no-such-program"], env);
    assert.equal(missing.status, 127);
    assert.match(missing.err, /^holdfast: .*\.\/no-such-program.*\n$/m);
    const refused = await scene.run(["run", "k", "--", "./text"], env);
    assert.equal(refused.status, 126);
    assert.match(refused.err, /^holdfast: .*\.\/text.*\n$/m);
  }
  assert.equal(await scene.locks.inspect("k"), undefined);
});

test("the command is started as given: no shell reads it, and what it reads and writes is holdfast's", async () => {
  await using scene = new Scene();
  const words = ["$HOME", "a  b", "*", "--", "-x", "'\"", ""];
  const shown = await scene.run(["run", "k", "--", "sh", "-c", 'printf "<%s>" "$@"', "sh", ...words]);
  assert.equal(shown.out, words.map((word) => `<${word}>`).join(""));
  const cat = scene.start(["run", "k", "--", "sh", "-c", "cat; echo wrong >&2"]);
  cat.type("a line\n");
  cat.child.stdin!.end();
  const { status, out, err } = await cat.ended;
  assert.deepEqual([status, out, err], [0, "a line\n", "wrong\n"]);
});

test("a key that begins with a hyphen stands behind a -- of its own", async () => {
  await using scene = new Scene();
  const shown = await scene.run([
    "run",
    "-q",
    "--",
    "-x",
    "-y",
    "--",
    "sh",
    "-c",
    "echo $HOLDFAST_TOKENS $1",
    "sh",
    "--",
  ]);
  assert.match(shown.out, /^{"-x":"\d+","-y":"\d+"} --\n$/);
});

test("the environment is handed on, variables with no name of the shell's too", async () => {
  await using scene = new Scene();
  const { out } = await scene.run(["run", "k", "--", "env"], { "a.b": "odd", plain: "p" });
  assert.match(out, /^a\.b=odd$/m);
  assert.match(out, /^plain=p$/m);
});

test("the command is told the key and the token of its lock, and is in the store by what it is", async () => {
  await using scene = new Scene();
  const one = scene.start(["run", "invoice:42", "--metadata", '{"job":7}', "--", "sh", "-c", TOLD]);
  const [, key, token] = await one.says(/^(.*) (\d+) ; none\n/);
  const queue = await scene.locks.inspect("invoice:42");
  assert.equal(key, "invoice:42");
  assert.equal(token, String(queue!.holders[0]!.token));
  const { host, pid, command, since, job } = queue!.holders[0]!.metadata as Record<string, unknown>;
  assert.ok(typeof host === "string" && typeof pid === "number" && Date.parse(since as string) > 0);
  assert.deepEqual([command, job], ["sh", 7]);
  one.child.stdin!.end();
  assert.equal((await one.ended).status, 0);

  const two = scene.start(["run", "b", "a", "b", "--", "sh", "-c", TOLD]);
  const [, first, itsToken, all] = await two.says(/^(.*) (\d+) ; (.*)\n/);
  assert.equal(first, "b");
  const tokens = JSON.parse(all!);
  assert.deepEqual(Object.keys(tokens), ["b", "a"]);
  assert.equal(tokens.b, itsToken);
  assert.equal(tokens.a, String((await scene.locks.inspect("a"))!.holders[0]!.token));
  two.child.stdin!.end();
  await two.ended;
});

const TOLD = 'echo "$HOLDFAST_KEY $HOLDFAST_TOKEN ; ${HOLDFAST_TOKENS-none}"; cat';

test("the command leads a process group of its own", async () => {
  await using scene = new Scene();
  const holdfast = scene.start(["run", "k", "--", "sh", "-c", "echo $$; cat"]);
  const pid = Number((await holdfast.says(/^(\d+)\n/))[1]);
  assert.equal(standingOf(pid).group, pid);
  assert.notEqual(standingOf(holdfast.child.pid!).group, pid);
  holdfast.child.stdin!.end();
  assert.equal((await holdfast.ended).status, 0);
});

test("every signal is passed on, and a second one too", async () => {
  await using scene = new Scene();
  const traps = SIGNALS.map((name) => `trap 'echo got ${name}' ${name}`).join("\n");
  const holdfast = scene.start(["run", "k", "--", "sh", "-c", `${traps}\necho ready\n${FOREVER}`]);
  await holdfast.says(/ready\n/);
  for (const name of [...SIGNALS, "INT", "TERM"] as const) {
    holdfast.out = "";
    holdfast.kill(`SIG${name}`);
    await holdfast.says(new RegExp(`^got ${name}\n`));
  }
  const { pid } = (await scene.locks.inspect("k"))!.holders[0]!.metadata as { pid: number };
  assert.equal(pid, holdfast.child.pid);
  holdfast.kill("SIGKILL");
});

/** A shell that hears a signal soon: it is in a loop of short waits. */
const FOREVER = "while :; do sleep 0.05; done";

test("a signal that the command does not expect ends it, and says so in the exit status", async () => {
  await using scene = new Scene();
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGUSR1", 138]] as const) {
    const holdfast = scene.start(["run", "k", "--", "sh", "-c", "echo ready; exec sleep 100"]);
    await holdfast.says(/ready/);
    holdfast.kill(signal);
    assert.equal((await holdfast.ended).status, status);
  }
  assert.equal(await scene.locks.inspect("k"), undefined);
});

test("TSTP stops the command and CONT continues it, while the lock is kept", async () => {
  await using scene = new Scene();
  // Without a terminal no shell waits for holdfast to stop.
  const holdfast = scene.start(["run", "--ttl", "6s", "k", "--", "sh", "-c", "echo $$; exec sleep 100"]);
  const pid = Number((await holdfast.says(/^(\d+)\n/))[1]);
  holdfast.kill("SIGTSTP");
  await stopped(pid);
  const left = async () => (await scene.locks.inspect("k"))!.holders[0]!.remaining!;
  let before = await left();
  await until(async () => before < (before = await left()), () => "the lock is not renewed");
  holdfast.kill("SIGCONT");
  await stopped(pid, false);
  holdfast.kill("SIGTERM");
  assert.equal((await holdfast.ended).status, 143);
});

test("without a shell the command runs all the same, and a warning says what is missing", async () => {
  await using scene = new Scene();
  const { status, out, err } = await scene.run(["run", "k", "--", "/bin/sh", "-c", "echo ours; exit 3"], {
    PATH: scene.folder,
  });
  assert.deepEqual([status, out], [3, "ours\n"]);
  assert.match(
    err,
    /^holdfast: there is no sh: should holdfast be killed, the command would go on without the lock\n$/,
  );
});

test("a lock that somebody has is 75: at once with --try, after its time with --wait, and nothing is left", async () => {
  await using scene = new Scene();
  const lock = await scene.locks.acquire("k", { metadata: { host: "db-1", pid: 12, command: "backup" } });
  const once = await scene.run(["run", "--try", "k", "--", "echo", "no"]);
  assert.deepEqual([once.status, once.out, once.err], [
    75,
    "",
    'holdfast: "k" was not to be had: held by backup (pid 12 on db-1)\n',
  ]);
  const waited = await scene.run(["run", "--wait", "300ms", "k", "--", "echo", "no"]);
  assert.deepEqual([waited.status, waited.out], [75, ""]);
  assert.match(waited.err, /"k" was not to be had within 300ms: held by backup \(pid 12 on db-1\)\n$/);
  const quiet = await scene.run(["run", "-q", "--try", "k", "--", "echo", "no"]);
  assert.deepEqual([quiet.status, quiet.out, quiet.err], [75, "", ""]);
  assert.equal((await scene.locks.inspect("k"))!.waiters.length, 0);
  await lock.release();
});

test("of several keys the one that somebody else has is named, and not its own place", async () => {
  await using scene = new Scene();
  await using _ = await scene.locks.acquire("m2", { metadata: { host: "db-1", pid: 12, command: "backup" } });
  for (const how of [["--try"], ["--wait", "2s"]]) {
    const { status, err } = await scene.run(["run", ...how, "m1", "m2", "--", "true"]);
    assert.equal(status, 75);
    assert.match(err, /^holdfast: "m2" was not to be had.*: held by backup \(pid 12 on db-1\)\n$/m);
  }
});

test("who waits says for whom, and runs when its turn has come", async () => {
  await using scene = new Scene();
  const lock = await scene.locks.acquire("k", { metadata: { host: "db-1", pid: 12, command: "backup" } });
  const holdfast = scene.start(["run", "k", "--", "echo", "ours"]);
  await holdfast.says(/waiting for "k", number 1 in the queue; held by backup \(pid 12 on db-1\)\n/);
  assert.equal(holdfast.out, "");
  await lock.release();
  const { status, out } = await holdfast.ended;
  assert.deepEqual([status, out], [0, "ours\n"]);
});

test("a signal ends the waiting, and the place in the queue with it", async () => {
  await using scene = new Scene();
  const lock = await scene.locks.acquire("k");
  const holdfast = scene.start(["run", "k", "--", "echo", "no"]);
  await holdfast.says(/waiting for "k"/);
  holdfast.kill("SIGTERM");
  const { status, out } = await holdfast.ended;
  assert.deepEqual([status, out], [143, ""]);
  assert.equal((await scene.locks.inspect("k"))!.waiters.length, 0);
  await lock.release();
});

test("a store that is away is 69, waited for or not, and never 75", async () => {
  await using scene = new Scene();
  const env = { HOLDFAST_STORE: `redis://:secret@127.0.0.1:${await freePort()}` };
  for (const options of [["--wait", "300ms"], ["--try"]]) {
    const { status, out, err } = await scene.run(["run", ...options, "k", "--", "echo", "no"], env);
    assert.deepEqual([status, out], [69, ""], err);
    assert.match(err, /^holdfast: .*redis/i);
    assert.doesNotMatch(err, /secret/);
  }
});

test("readers share a lock, and a semaphore has as many holders as it says", async () => {
  await using scene = new Scene();
  for (const [key, options] of [["r", ["--shared"]], ["s", ["--limit", "2"]]] as const) {
    const first = scene.start(["run", ...options, key, "--", "sh", "-c", "echo first; cat"]);
    await first.says(/first/);
    const second = scene.start(["run", ...options, key, "--", "sh", "-c", "echo second; cat"]);
    await second.says(/second/);
    assert.equal((await scene.run(["run", "-q", "--try", key, "--", "true"])).status, 75);
    first.child.stdin!.end();
    second.child.stdin!.end();
    assert.deepEqual([(await first.ended).status, (await second.ended).status], [0, 0]);
  }
});

test("--at-least keeps the key taken after holdfast has ended, for a ttl that is as long at least", async () => {
  await using scene = new Scene();
  for (const [key, words] of [["a", []], ["b", ["--ttl", "2h"]]] as const) {
    const { status } = await scene.run(["run", "--at-least", "1h", ...words, key, "--", "true"]);
    assert.equal(status, 0);
    const { holders: [holder] } = (await scene.locks.inspect(key))!;
    assert.ok(holder!.remaining! > 3_000_000, `${holder!.remaining}`);
  }
});

test("what is left of a command when it has ended is ended before anybody else has the lock", async () => {
  await using scene = new Scene();
  const leftover = "trap '' TERM; echo $$; exec sleep 100 >/dev/null 2>&1";
  const holdfast = scene.start([
    "run",
    "--grace",
    "200ms",
    "k",
    "--",
    "sh",
    "-c",
    `(sh -c '${leftover}') & read a; exit 5`,
  ]);
  const pid = Number((await holdfast.says(/^(\d+)\n/))[1]);
  const { lock } = await waiter(scene.locks, "k");
  const seen = lock.then(() => standingOf(pid).state);
  assert.notEqual(standingOf(pid).state, "");
  holdfast.type("\n");
  assert.equal((await holdfast.ended).status, 5);
  assert.ok(["", "Z", "X"].includes(await seen), "it still ran under the lock of another");
});
