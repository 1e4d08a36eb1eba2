/** What one node does with ballots, asked directly. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Redis } from "ioredis";
import { redlock } from "../../backends/redlock.ts";
import { MEMORY } from "../../backends/redlock/client/memory.ts";
import { ANSWER, RENEW, RETRACT, VOTE } from "../../backends/redlock/scripts.ts";
import { LockManager } from "../../mod.ts";
import { Nodes } from "./nodes.ts";

const nodes = await Nodes.start(1);
const client = new Redis(nodes.urls[0]!);
const run = /run_id:(\w+)/.exec(await client.info("server"))![1]!;
after(async () => {
  client.disconnect();
  await nodes[Symbol.asyncDispose]();
});

/** The votes for one key. */
class Key {
  readonly key = `holdfast/{${crypto.randomUUID()}}:votes`;

  /** A vote with this ballot, to a writer or to a reader (limit 0): the node's answer and its number. Milliseconds. */
  async vote(id: string, ballot: number, limit: 0 | 1 = 1, ttl = 10_000): Promise<number[]> {
    const terms = [id, `${ballot} ${ttl * 1_000} 1000 0 ${run}`, `${limit} channel 0 client`];
    return await client.eval(VOTE.source, 2, this.key, MEMORY, ...terms) as number[];
  }

  async retract(id: string, ballot: number): Promise<void> {
    await client.eval(RETRACT.source, 1, this.key, id, ballot, 0);
  }

  /** A crowd of thirty readers, "10" to "39". The greatest ballot. */
  async crowd(ttl: number): Promise<number> {
    let last = 0;
    for (let n = 10; n < 40; n++) {
      last = Math.max(last + 1, await time() + 3e6);
      assert.equal((await this.vote(`${n}`, last, 0, ttl))[0], ANSWER.granted);
    }
    return last;
  }
}

/** The node's, in microseconds. */
async function time(): Promise<number> {
  const [seconds, micros] = await client.time();
  return Number(seconds) * 1e6 + Number(micros);
}

test("a ballot far ahead is refused: nobody poisons a key", async () => {
  const key = new Key();
  const now = await time();
  const [answer, better] = await key.vote("aa", now + 3_600e6);
  assert.equal(answer, ANSWER.ballot);
  assert.ok(better! < now + 5e6);
  assert.equal((await key.vote("aa", better! + 2e6))[0], ANSWER.granted);
});

test("a client whose clock is an hour ahead proposes what everybody does", { timeout: 30_000 }, async () => {
  await using nodes = await Nodes.start(3);
  await using locks = new LockManager(redlock(nodes.urls, { maxTtl: 10_000 }));
  const { now } = Date;
  Date.now = () => now() + 3_600_000;
  try {
    const lock = await locks.acquire("k");
    await lock.release();
    assert.ok(Number(lock.token) < await time() + 5e6);
  } finally {
    Date.now = now;
  }
  await using next = await locks.acquire("k");
  assert.ok(next.held, "nobody is kept out by it");
});

test("a ballot must be greater than all before it, and not behind the clock", async () => {
  const key = new Key();
  const now = await time();
  assert.equal((await key.vote("aa", now - 1))[0], ANSWER.ballot);
  const ballot = now + 4e6;
  assert.equal((await key.vote("aa", ballot))[0], ANSWER.granted);
  await key.retract("aa", ballot);
  const [answer, better] = await key.vote("bb", ballot - 1);
  assert.deepEqual([answer, better], [ANSWER.ballot, ballot + 1]);
  assert.equal((await key.vote("bb", ballot + 1))[0], ANSWER.granted);
});

test("a vote taken back cannot be given by a copy that comes late", async () => {
  const key = new Key();
  const ballot = (await time()) + 3e6;
  await key.retract("aa", ballot); // it overtakes the vote
  assert.equal((await key.vote("aa", ballot))[0], ANSWER.ballot);
  assert.equal((await key.vote("bb", ballot + 1))[0], ANSWER.granted, "others are not kept out");
});

test("taking a vote back leaves a later one for the same claim alone, however late it comes", async () => {
  const key = new Key();
  const ballot = (await time()) + 3e6;
  await key.vote("aa", ballot);
  assert.equal((await key.vote("aa", ballot + 1))[0], ANSWER.granted);
  await key.retract("aa", ballot); // it was sent before the second vote
  assert.equal((await key.vote("bb", ballot + 2))[0], ANSWER.refused);
  await key.retract("aa", ballot + 1);
  assert.equal((await key.vote("bb", ballot + 2))[0], ANSWER.granted);
});

test("the same vote twice is one", async () => {
  const key = new Key();
  const ballot = (await time()) + 3e6;
  assert.equal((await key.vote("aa", ballot))[0], ANSWER.granted);
  assert.equal((await key.vote("aa", ballot))[0], ANSWER.granted);
  assert.equal((await key.vote("bb", ballot + 1))[0], ANSWER.refused);
});

test("nothing stays behind once everything is over", async () => {
  const key = new Key();
  const ballot = (await time()) + 1e6;
  await key.vote("aa", ballot);
  await key.retract("aa", ballot);
  assert.ok(await client.pttl(key.key) < 2_500, "until the clock has passed the ballot");
});

// Each is red if the script that works on a crowd without reading it leaves out what the title says.
test("in a crowd: a vote taken back cannot be given by a copy that comes late", async () => {
  const key = new Key();
  const last = await key.crowd(60_000);
  assert.equal((await key.vote("aa", last + 1, 0))[0], ANSWER.granted);
  await key.retract("aa", last + 1);
  assert.equal((await key.vote("aa", last + 1, 0))[0], ANSWER.ballot);
  await key.retract("bb", last + 2); // it overtakes the vote
  assert.equal((await key.vote("bb", last + 2, 0))[0], ANSWER.ballot);
  assert.equal((await key.vote("cc", last + 3, 0))[0], ANSWER.granted);
});

test("in a crowd: taking a vote back leaves a later one for the same claim alone", async () => {
  const key = new Key();
  const last = await key.crowd(60_000);
  assert.equal((await key.vote("aa", last + 1, 0))[0], ANSWER.granted);
  assert.equal((await key.vote("aa", last + 2, 0))[0], ANSWER.granted);
  await key.retract("aa", last + 1); // it was sent before the second vote
  assert.equal(await client.hexists(key.key, "aa"), 1);
  await key.retract("aa", last + 2);
  assert.equal(await client.hexists(key.key, "aa"), 0);
});

test("in a crowd: a claim that was robbed does not come back", async () => {
  const key = new Key();
  const last = await key.crowd(60_000);
  await client.hset(key.key, "aa", `0 ${last + 60e6} stolen`);
  assert.equal((await key.vote("aa", last + 1, 0))[0], ANSWER.stolen);
});

test("a crowd stays for as long as its longest vote, and a writer out", async () => {
  const key = new Key();
  await key.vote("aa", await time() + 2e6, 0, 600_000);
  const last = await key.crowd(1);
  assert.ok(await client.pttl(key.key) > 500_000);
  for (let n = 10; n < 40; n++) await key.retract(`${n}`, last);
  assert.ok(await client.pttl(key.key) > 500_000);
  assert.equal((await key.vote("bb", await time() + 4e6))[0], ANSWER.refused);
  await key.retract("aa", last);
  assert.equal((await key.vote("bb", await time() + 4e6))[0], ANSWER.granted);
  assert.equal((await key.vote("cc", await time() + 4.5e6, 0))[0], ANSWER.refused);
});

test("a crowd whose votes are over keeps no writer out", async () => {
  const key = new Key();
  await key.vote("bb", await time() + 2e6, 0, 600_000); // for which the key stays
  await key.retract("bb", await key.crowd(100));
  const end = performance.now() + 10_000;
  while ((await key.vote("aa", await time() + 3e6))[0] !== ANSWER.granted) assert.ok(performance.now() < end);
});

test("a renewal tells stolen from missing, and does not end the longer votes of others", async () => {
  const key = new Key();
  const ballot = await time() + 3e6;
  await key.vote("aa", ballot, 0, 600_000);
  await key.vote("bb", ballot + 1, 0, 600_000);
  await client.hset(key.key, "dd", `0 ${ballot + 600e6} stolen`);
  const named = ["aa", "bb", "cc", "dd"].flatMap((id) => [id, ballot]);
  const renewal = [MEMORY, key.key, 10_000, run, 1_000, 4, ...named];
  const reply = await client.eval(RENEW.source, 2, ...renewal) as number[];
  assert.deepEqual(reply.slice(1), [1, 0, 0, -1]);
  assert.ok(await client.pttl(key.key) > 500_000);
});
