/** `holdfast ls`, `inspect`, `watch` and `steal`: for people in 80 columns, for programs in lines of JSON. */
import assert from "node:assert/strict";
import { closeSync, existsSync, openSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { columnsOf, cut, quoted, table, visible } from "../../internal/cli/text.ts";
import { until } from "../servers/process.ts";
import { over, waiter } from "../support.ts";
import { Scene } from "./holdfast.ts";

/** Keys that a terminal would act on, or that are wider than they are long. */
const ODD = [
  "a\x1b[2J\x1b]0;title\x07b",
  "two\nlines\r\ttab",
  "鍵".repeat(60),
  "👩‍👩‍👧‍👦".repeat(20),
  "right\u202eleft",
  "x".repeat(500),
  "\ud800 alone",
  "back\\slash",
  "c1\x9b31m",
];

/** Lines as they are on a terminal: nothing acts, nothing is wider than it. */
function assertFits(text: string, columns: number): void {
  for (const line of text.split("\n")) {
    assert.ok(columnsOf(line) <= columns, `${columnsOf(line)} columns: ${line}`);
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(line, /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800]/u);
  }
}

test("ls shows keys with how many hold and wait, by their beginning and prefix", async () => {
  await using scene = new Scene();
  await using _ = await scene.locks.acquire(["invoice:1", "invoice:2", "report"]);
  await using __ = await scene.locks.acquire("readers", { mode: "shared" });
  await using ___ = await scene.locks.acquire("readers", { mode: "shared" });
  const { lock } = await waiter(scene.locks, "report");
  const all = await scene.run(["ls"]);
  assert.equal(all.status, 0);
  assert.equal(
    all.out,
    "KEY        MODE       HOLDERS  WAITERS\n" +
      "invoice:1  exclusive  1        0\n" +
      "invoice:2  exclusive  1        0\n" +
      "readers    shared     2        0\n" +
      "report     exclusive  1        1\n",
  );
  const some = await scene.run(["ls", "invoice:2", "--json"]);
  assert.deepEqual(JSON.parse(some.out), [{ key: "invoice:2", mode: "exclusive", holders: 1, waiters: 0 }]);
  for (
    const [words, env] of [[["ls", "--prefix", "other", "--json"], {}], [["ls", "--json"], {
      HOLDFAST_PREFIX: "other",
    }]] as const
  ) {
    assert.deepEqual(JSON.parse((await scene.run(words, env)).out), []);
  }
  await _.release();
  await (await lock).release();
});

test("inspect shows the queue in its order, or that the key is free", async () => {
  await using scene = new Scene();
  await using lock = await scene.locks.acquire("k", {
    metadata: { host: "db-1", pid: 7, command: "backup" },
  });
  const waiting = await waiter(scene.locks, "k");
  const { out } = await scene.run(["inspect", "k", "free"]);
  assert.match(
    out,
    /^k\n {7}MODE +TOKEN +TTL LEFT +WHO\nholds +exclusive +\d+ +\d.* +backup \(pid 7 on db-1\)\nwaits +exclusive.*\nfree\nfree\n$/,
  );
  const json = (await scene.run(["inspect", "k", "free", "--json"])).out.trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assert.equal(json[0].holders[0].token, String(lock.token));
  assert.equal(json[0].waiters.length, 1);
  assert.deepEqual(json[1], { key: "free", holders: [], waiters: [] });
  await lock.release();
  await (await waiting.lock).release();
});

test("whatever a key is, it takes one line of 80 columns, in which nothing acts on the terminal", async () => {
  await using scene = new Scene();
  await using _ = await scene.locks.acquire(ODD, { metadata: { host: ODD[0]!, note: "n".repeat(200) } });
  const { out } = await scene.run(["ls"]);
  assert.equal(out.split("\n").length, ODD.length + 2);
  assertFits(out, 80);
  const keys = ODD.filter((key) => key.isWellFormed());
  const inspected = (await scene.run(["inspect", ...keys])).out;
  assert.equal(inspected.split("\n").length, 3 * keys.length + 1);
  assertFits(inspected, 80);
  const json = JSON.parse((await scene.run(["ls", "--json"])).out);
  assert.deepEqual(new Set(json.map(({ key }: { key: string }) => key)), new Set(ODD));
});

test("an answer that cannot be written is 74, one that nobody reads is no fault", {
  skip: existsSync("/dev/full") ? false : "this system has no /dev/full",
}, async () => {
  await using scene = new Scene();
  for (const words of [["ls"], ["ls", "--json"], ["inspect", "k"], ["help", "run"], ["--version"]]) {
    const full = openSync("/dev/full", "w");
    const { status, err } = await scene.start(words, {}, ["ignore", full, "pipe"]).ended;
    closeSync(full);
    assert.equal(status, 74, `${words.join(" ")}: ${err}`);
    assert.match(err, /^(holdfast: |.*"message":")Cannot write to the output: .*no space left.*\n$/i);
    const piped = scene.start(words, {}, ["ignore", "pipe", "pipe"]);
    piped.child.stdout!.destroy();
    const ended = await piped.ended;
    assert.deepEqual([ended.status, ended.err], [0, ""]);
  }
});

test("a table gives up the columns of its widest cells, and no others", () => {
  const wide = ["日本".repeat(30), "b".repeat(90), "c"];
  for (const columns of [80, 40, 21]) {
    const lines = table(["KEY", "NOTE", "N"], [wide, ["k", "n", "1"]], columns);
    for (const line of lines) assert.ok(columnsOf(line) <= columns, line);
    assert.ok(lines[1]!.includes("…") && lines[1]!.endsWith("c"));
  }
  assert.deepEqual(table(["A", "B"], [["日", "x"]], 80), ["A   B", "日  x"]);
  assert.equal(cut("abcdef", 4), "abc…");
  assert.equal(visible("\\n\n\u{e0001}"), "\\\\n\\n\\u{e0001}");
  assert.equal(quoted('say "x"'), '"say \\"x\\""');
});

test("watch says each grant and each end, in a line each, until a signal ends it", async () => {
  await using scene = new Scene();
  const people = scene.start(["watch", "k", "other"]);
  const program = scene.start(["watch", "k", "--json"]);
  await people.says(/^holdfast: watching "k", "other"\n/);
  await program.says(/^{"type":"watching","keys":\["k"\]}\n/);
  const lock = await scene.locks.acquire("k", { metadata: { host: "db-1", pid: 7, command: "backup" } });
  const token = String(lock.token);
  await people.says(
    new RegExp(`^\\d\\d:\\d\\d:\\d\\d locked +k {2}token ${token} {2}backup \\(pid 7 on db-1\\)\n`),
  );
  await program.says(new RegExp(`"token":"${token}"`));
  await lock.release();
  await people.says(/\n\d\d:\d\d:\d\d unlocked k\n$/);
  await program.says(/"type":"unlocked","key":"k"}\n$/);
  const lines = program.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  const locked = lines.find((line) => line.token === token);
  assert.deepEqual([locked.type, locked.key, locked.metadata.pid], ["locked", "k", 7]);
  assert.ok(Date.parse(locked.time) > 0);
  people.kill("SIGINT");
  program.kill("SIGTERM");
  assert.deepEqual([(await people.ended).status, (await program.ended).status], [130, 143]);
});

test("watch says once that the store is away, however often it asks again", async () => {
  await using scene = new Scene();
  let asked = 0;
  const server = createServer((socket) => {
    asked++;
    socket.on("error", () => {}).destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const holdfast = scene.start(["watch", "k", "--store", `redis://127.0.0.1:${port}`]);
  await holdfast.says(/closed the connection/);
  const before = asked;
  await until(() => Promise.resolve(asked > before + 8), () => `asked ${asked} times`, 60_000);
  holdfast.kill("SIGINT");
  const { status, err } = await holdfast.ended;
  server.close();
  assert.equal(status, 130);
  assert.match(err, /^holdfast: Cannot connect to Redis .*\n$/);
});

test("steal takes the lock from its holder, says from whom, and gives it to who waits", async () => {
  await using scene = new Scene();
  const lock = await scene.locks.acquire("k", { metadata: { host: "db-1", pid: 7, command: "backup" } });
  const { lock: next } = await waiter(scene.locks, "k");
  const { status, out } = await scene.run(["steal", "k"]);
  assert.deepEqual([status, out], [0, '"k": taken from backup (pid 7 on db-1)\n']);
  assert.equal((await over(lock)).why, "stolen");
  const heir = await next;
  const { out: json } = await scene.run(["steal", "k", "--json"]);
  const { key, token, from } = JSON.parse(json);
  assert.deepEqual([key, from.length, from[0].token], ["k", 1, String(heir.token)]);
  assert.ok(BigInt(token) > heir.token);
  assert.equal((await scene.run(["steal", "k"])).out, '"k": nobody held it\n');
});
