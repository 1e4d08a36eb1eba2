/** What one node does with ballots, asked directly. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { redlock } from "../../backends/redlock.ts";
import { LockManager } from "../../mod.ts";
import { ANSWER, MEMORY, RETRACT, VOTE } from "../../backends/redlock/scripts.ts";
import type { RedisServer } from "../servers/redis.ts";
import { Nodes } from "./nodes.ts";

const KEY = "holdfast/{k}:votes";

/** The node's answer and its number. */
async function vote(server: RedisServer, id: string, ballot: number, limit = 1): Promise<number[]> {
  const run = /run_id:(\w+)/.exec(await server.cli("info", "server"))![1]!;
  const reply = await server.cli(
    ...["eval", VOTE.source, "2", KEY, MEMORY],
    ...[id, `${ballot} 10000000 1000 0 ${run}`, `${limit} channel 0 client`],
  );
  return reply.trim().split("\n").map((line) => Number(line.replace(/^.*\) /, "")));
}

async function retract(server: RedisServer, id: string, ballot: number): Promise<void> {
  await server.cli("eval", RETRACT.source, "1", KEY, id, `${ballot}`, "0");
}

async function time(server: RedisServer): Promise<number> {
  const [seconds, micros] = (await server.cli("time")).trim().split("\n");
  return Number(seconds) * 1e6 + Number(micros);
}

test("a ballot far ahead is refused: nobody poisons a key", async () => {
  await using nodes = await Nodes.start(1);
  const [server] = nodes.servers;
  const now = await time(server!);
  const [answer, better] = await vote(server!, "aa", now + 3_600e6);
  assert.equal(answer, ANSWER.ballot);
  assert.ok(better! < now + 5e6);
  assert.equal((await vote(server!, "aa", better! + 2e6))[0], ANSWER.granted);
});

test("a client whose clock is an hour ahead proposes what everybody does", { timeout: 30_000 }, async () => {
  await using nodes = await Nodes.start(3);
  await using locks = new LockManager(redlock(nodes.urls, { maxTtl: 10_000 }));
  const { now } = Date;
  Date.now = () => now() + 3_600_000;
  try {
    const lock = await locks.acquire("k");
    await lock.release();
    assert.ok(Number(lock.token) < await time(nodes.servers[0]!) + 5e6);
  } finally {
    Date.now = now;
  }
  await using next = await locks.acquire("k");
  assert.ok(next.held, "nobody is kept out by it");
});

test("a ballot must be greater than all before it, and not behind the clock", async () => {
  await using nodes = await Nodes.start(1);
  const [server] = nodes.servers;
  const now = await time(server!);
  assert.equal((await vote(server!, "aa", now - 1))[0], ANSWER.ballot);
  const ballot = now + 4e6;
  assert.equal((await vote(server!, "aa", ballot))[0], ANSWER.granted);
  await retract(server!, "aa", ballot);
  const [answer, better] = await vote(server!, "bb", ballot - 1);
  assert.deepEqual([answer, better], [ANSWER.ballot, ballot + 1]);
  assert.equal((await vote(server!, "bb", ballot + 1))[0], ANSWER.granted);
});

test("a vote taken back cannot be given by a copy that comes late", async () => {
  await using nodes = await Nodes.start(1);
  const [server] = nodes.servers;
  const ballot = (await time(server!)) + 3e6;
  await retract(server!, "aa", ballot); // it overtakes the vote
  assert.equal((await vote(server!, "aa", ballot))[0], ANSWER.ballot);
  assert.equal((await vote(server!, "bb", ballot + 1))[0], ANSWER.granted, "others are not kept out");
});

test("taking a vote back leaves a later one for the same claim alone, however late it comes", async () => {
  await using nodes = await Nodes.start(1);
  const [server] = nodes.servers;
  const ballot = (await time(server!)) + 1e6;
  await vote(server!, "aa", ballot);
  assert.equal((await vote(server!, "aa", ballot + 1))[0], ANSWER.granted);
  await retract(server!, "aa", ballot); // it was sent before the second vote
  assert.equal((await vote(server!, "bb", ballot + 2))[0], ANSWER.refused);
  await retract(server!, "aa", ballot + 1);
  assert.equal((await vote(server!, "bb", ballot + 2))[0], ANSWER.granted);
});

test("the same vote twice is one", async () => {
  await using nodes = await Nodes.start(1);
  const [server] = nodes.servers;
  const ballot = (await time(server!)) + 1e6;
  assert.equal((await vote(server!, "aa", ballot))[0], ANSWER.granted);
  assert.equal((await vote(server!, "aa", ballot))[0], ANSWER.granted);
  assert.equal((await vote(server!, "bb", ballot + 1))[0], ANSWER.refused);
});

test("nothing stays behind once everything is over", async () => {
  await using nodes = await Nodes.start(1);
  const [server] = nodes.servers;
  const ballot = (await time(server!)) + 1e6;
  await vote(server!, "aa", ballot);
  await retract(server!, "aa", ballot);
  assert.ok(Number(await server!.cli("pttl", KEY)) < 2_500, "until the clock has passed the ballot");
});
