/** `holdfast doctor` as it is typed: what it prints, and its exit status. What it finds is tested with each store. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { PASSWORD } from "../doctor.ts";
import { chosenStores } from "../runner/files.ts";
import { freePort } from "../servers/process.ts";
import { RedisServer } from "../servers/redis.ts";
import { Scene } from "./holdfast.ts";

const SLOW = { timeout: 60_000 };

test(
  "a store that is safe: a line for each finding, within 80 columns, and what they come to",
  SLOW,
  async () => {
    await using scene = new Scene();
    await using _ = await scene.locks.acquire("other");
    const { status, out, err } = await scene.run(["doctor"]);
    assert.deepEqual([status, err], [0, ""]);
    assert.match(out, /^sqlite:, for a ttl of 10s\n\nok {6}file {9}\S/);
    assert.match(
      out,
      /^ok {6}lock {9}Taken, waited for by another, handed over and released: all\n {21}of it in/m,
    );
    assert.match(
      out,
      /\n\nNothing makes locks unsafe here\. Fencing is "durable": tokens rise while the\nfile,/,
    );
    for (const line of out.split("\n")) assert.ok(line.length <= 80, line);
  },
);

const redis = chosenStores().includes("redis") ? {} : { skip: "redis is not among BACKENDS" };

test("a store of which a note says what a fault costs is not said to be without one", {
  ...SLOW,
  ...redis,
}, async () => {
  await using server = await RedisServer.start({ port: await freePort() });
  await using scene = new Scene();
  const { status, out } = await scene.run(["doctor", "--store", server.url]);
  assert.equal(status, 0, out);
  assert.match(out, /^note /m);
  assert.match(out, /\n\nLocks are safe here as long as nothing fails: see what is marked note\. /);
  assert.doesNotMatch(out, /Nothing makes locks unsafe/);
});

test("lines of JSON: the store, the findings, the end", SLOW, async () => {
  await using scene = new Scene();
  await using _ = await scene.locks.acquire("other");
  const { status, out } = await scene.run(["doctor", "--json", "--ttl", "20s"]);
  assert.equal(status, 0);
  const [first, ...rest] = out.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(first, { store: "sqlite:", ttl: 20_000, fencing: "durable" });
  const last = rest.pop();
  assert.equal(last.safe, true);
  assert.ok(rest.length > 3);
  for (const { topic, verdict, says, ...others } of rest) {
    assert.ok(topic && says && /^(good|note|unsafe)$/.test(verdict));
    assert.deepEqual(others, {});
  }
});

test("a store that makes locks unsafe: status 1", SLOW, async () => {
  await using scene = new Scene();
  const other = `${scene.folder}/other.db`;
  writeFileSync(other, "no database ".repeat(1_000));
  const { status, out } = await scene.run(["doctor", "--store", `sqlite://${other}`]);
  assert.equal(status, 1);
  assert.match(out, /^UNSAFE {2}file {9}Cannot use the lock file/m);
  assert.match(out, /\nLocks are not safe here: see what is marked UNSAFE\./);
  const short = await scene.run(["doctor", "--store", "consul://127.0.0.1:1", "--ttl", "5s"]);
  assert.equal(short.status, 69, "away, whatever the ttl");
});

test("a store that is away: status 69; bad usage: 64; and no password is shown", SLOW, async () => {
  await using scene = new Scene();
  const url = `redis://app:${PASSWORD}@127.0.0.1:1`;
  const away = await scene.run(["doctor"], { HOLDFAST_STORE: url });
  assert.equal(away.status, 69);
  assert.match(away.out, /^redis:\/\/127\.0\.0\.1:1, for a ttl of 10s\n/);
  assert.match(away.err, /^holdfast: Cannot connect to Redis at 127\.0\.0\.1:1: .*ECONNREFUSED/);
  const wrong = await scene.run(["doctor"], { HOLDFAST_STORE: url.replace("redis:", "reddis:") });
  assert.equal(wrong.status, 64);
  assert.match(wrong.err, /^holdfast: HOLDFAST_STORE: Cannot use the scheme "reddis"/);
  const short = await scene.run(["doctor", "--ttl", "5"]);
  assert.equal(short.status, 64);
  assert.match(short.err, /--ttl <time>.*'5' is invalid.*such as 500ms/);
  for (const { out, err } of [away, wrong, short]) assert.doesNotMatch(out + err, new RegExp(PASSWORD));
});
