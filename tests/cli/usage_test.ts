/** What can be typed, and what is said of what cannot. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseDuration, showDuration } from "../../internal/cli/durations.ts";
import process from "node:process";
import { execute } from "../../internal/cli/program.ts";
import { Scene } from "./holdfast.ts";

/** Words that are no use, and what has to be said of them. */
const BAD: readonly (readonly [words: string, said: RegExp])[] = [
  ["run", /missing required argument 'key'/],
  ["run k", /Expected a command after the keys and "--"/],
  ["run k true", /Expected a command after the keys and "--"/],
  ["run k --", /Expected a command after the keys and "--"/],
  ["run k -- ", /Expected a command after the keys and "--"/],
  ["run -- true", /Expected at least one key before "--"/],
  ["run --wait 5 k -- true", /'--wait <time>' argument '5' is invalid. Expected a number and a unit/],
  ["run --wait 0s k -- true", /'--wait <time>' argument '0s' is invalid. Expected .*, from 1ms to 24d/],
  ["run --wait 25d k -- true", /'--wait <time>' argument '25d' is invalid. Expected .*, from 1ms to 24d/],
  ["run --grace 25d k -- true", /'--grace <time>' argument '25d' is invalid. Expected .*, from 0ms to 24d/],
  ["run --at-least 100d k -- true", /'--at-least <time>' argument '100d' is invalid. Expected .* 0ms to 24h/],
  ["run --at-least 60s --ttl 30s k -- true", /Expected --ttl to be as long as --at-least, 60s, .* got 30s/],
  ["run --ttl 0s k -- true", /'--ttl <time>' argument '0s' is invalid. Expected .*, from 1ms to 24h/],
  ["run --grace soon k -- true", /'--grace <time>' argument 'soon' is invalid. Expected a number and a unit/],
  ["run --at-least -1s k -- true", /'--at-least <time>' argument '-1s' is invalid/],
  ["run --limit 0 k -- true", /'--limit <n>' argument '0' is invalid. Expected a whole number from 1/],
  ["run --limit 1.5 k -- true", /'--limit <n>' argument '1.5' is invalid/],
  ["run --metadata [] k -- true", /'--metadata <json>' argument '\[\]' is invalid. Expected a JSON object/],
  ['run --metadata {"pid":1} k -- true', /Expected a JSON object, .* without host, pid, command, since/],
  ["run --shared --limit 2 k -- true", /'--shared' cannot be used with option '--limit <n>'/],
  ["run --try --wait 3s k -- true", /'--try' cannot be used with option '--wait <time>'/],
  ["run --wiat 3s k -- true", /unknown option '--wiat'\n\(Did you mean --wait\?\)/],
  ["run --ttl 1ms k -- true", /Expected "ttl" to be 100 to 86400000 milliseconds on sqlite, got 1/],
  ["run --ttl 2d k -- true", /'--ttl <time>' argument '2d' is invalid. Expected .*, from 1ms to 24h/],
  ["inspekt k", /unknown command 'inspekt'\n\(Did you mean inspect\?\)/],
  ["help bogus", /unknown command 'bogus'; there are run, ls, inspect, watch, steal, doctor, help/],
  ["help bogus --json", /^\{"type":"error","message":"unknown command 'bogus'/],
  ["doctor --store memory:", /--store: a lock in memory: is seen by no other process/],
  ["inspect", /missing required argument 'key'/],
  ["ls --store redis://:secret@host:port", /--store: Cannot read the URL of the store: .* a number its port/],
  ["ls --store memory:", /--store: a lock in memory: is seen by no other process/],
  ["ls --json --frob", /^\{"type":"error","message":"unknown option '--frob'/],
];

test("bad usage is 64, and says what is wrong and what is accepted", async () => {
  await using scene = new Scene();
  await scene.locks.inspect("k");
  const stderr = process.stderr.write;
  for (const [words, expected] of BAD) {
    let said = "";
    process.stderr.write = ((text: string, done?: () => void) => {
      said += text;
      done?.();
      return true;
    }) as typeof stderr;
    let status: number;
    try {
      status = await execute(words.split(" "));
    } finally {
      process.stderr.write = stderr;
    }
    assert.equal(status, 64, `${words}: ${said}`);
    assert.match(said.replace(/^holdfast: /, ""), expected, words);
    assert.doesNotMatch(said, /secret|at .*\.ts:/);
  }
});

test("bad usage is the exit status of the process; without a word the help is shown", async () => {
  await using scene = new Scene();
  const { status, out, err } = await scene.run(["run", "--ttl", "5", "k", "--", "echo", "no"]);
  assert.deepEqual([status, out], [64, ""]);
  assert.match(err, /^holdfast: option '--ttl <time>' argument '5' is invalid/);
  const bare = await scene.run([]);
  assert.equal(bare.status, 64);
  assert.match(bare.err, /^Usage: holdfast \[options\] \[command\]\n/);
  const wrong = await scene.run(["ls"], { HOLDFAST_STORE: "reddis://host" });
  assert.equal(wrong.status, 64);
  assert.match(wrong.err, /^holdfast: HOLDFAST_STORE: /);
});

test("each command has a help that shows an example and what is accepted everywhere", async () => {
  await using scene = new Scene();
  for (
    const words of [["--help"], ...["run", "ls", "inspect", "watch", "steal"].map((each) => [each, "--help"])]
  ) {
    const { status, out } = await scene.run(words);
    assert.equal(status, 0);
    assert.match(out, new RegExp(`\nExamples?:\n  holdfast ${words.length > 1 ? words[0] : "run"}`));
    for (const each of ["--store <url>", "--prefix <prefix>", "--json"]) assert.ok(out.includes(each), each);
  }
});

test("help COMMAND shows the same, and times as they are typed", async () => {
  await using scene = new Scene();
  const [asked, shown] = [await scene.run(["help", "run"]), await scene.run(["run", "--help"])];
  assert.deepEqual(asked, shown);
  assert.match(shown.out, /\(default: 5s\)/);
  assert.deepEqual(await scene.run(["help"]), await scene.run(["--help"]));
});

test("--version is the package's", async () => {
  await using scene = new Scene();
  const { version } = JSON.parse(readFileSync(new URL("../../deno.json", import.meta.url), "utf8"));
  assert.deepEqual(await scene.run(["--version"]), { status: 0, signal: null, out: `${version}\n`, err: "" });
});

test("durations are numbers with a unit", () => {
  for (
    const [text, ms] of [
      ["500ms", 500],
      ["10s", 10_000],
      ["1.5s", 1_500],
      ["5m", 300_000],
      ["1h", 3_600_000],
      [
        "1d",
        86_400_000,
      ],
      ["0s", 0],
    ] as const
  ) assert.equal(parseDuration(text), ms, text);
  for (const text of ["", "5", "s", "5 s", "-5s", "1e3s", ".5s", "5S", "Infinitys", "9".repeat(30) + "d"]) {
    assert.equal(parseDuration(text), undefined, text);
  }
  const shown = [0, 999, 1_000, 9_940, 10_000, 119_000, 120_000, 7_199_000, 7_200_000, 172_800_000];
  assert.deepEqual(shown.map(showDuration), [
    "0ms",
    "999ms",
    "1s",
    "9.9s",
    "10s",
    "119s",
    "2m",
    "120m",
    "2h",
    "2d",
  ]);
});
