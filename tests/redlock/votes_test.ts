/** Majorities: who gets one, and who does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { redlock } from "../../backends/redlock.ts";
import { LockManager } from "../../mod.ts";
import { CALL, claim, ENTERED, open } from "../support.ts";
import { Nodes } from "./nodes.ts";

const OPTIONS = { maxTtl: 10_000 };
const VOTES = "holdfast/{k}:votes";
const patient = { timeout: 60_000 };

// Red, two times in three, if: closing cuts off the node that a release did not wait for.
test("closing leaves no vote behind, not even of a first lock on new nodes", patient, async () => {
  await Promise.all(Array.from({ length: 10 }, async () => {
    await using nodes = await Nodes.start(3, false);
    const locks = new LockManager(redlock(nodes.urls, { maxTtl: 3_000 }), { ttl: 3_000 });
    await (await locks.acquire("k")).release();
    await locks.close();
    await sleep(300);
    await nodes.until(VOTES, (holders) => holders.every((ids) => ids.length === 0), 2_000); // before its ttl is over
  }));
});

test("two nodes that vote 1-1 settle at once, and somebody gets it", patient, async () => {
  await using nodes = await Nodes.start(2);
  await using backend = redlock(nodes.urls, OPTIONS);
  const { lease } = await open(backend);
  // Somebody has one of the two.
  await using half = redlock([nodes.urls[0]!], OPTIONS);
  const other = (await open(half)).lease;
  const theirs = claim();
  await other.attempt(theirs, CALL);
  const started = performance.now();
  const outcome = await lease.attempt(claim({ wait: false }), CALL);
  assert.equal(outcome.state, "contended");
  assert.ok(performance.now() - started < CALL.timeout, "not by its time limit");
  const left = JSON.stringify([[theirs.id], []]); // a vote that came after the decision is taken back as well
  await nodes.until(VOTES, (holders) => JSON.stringify(holders) === left);
  // One refusal of two decides, whatever the other node would say.
  nodes.servers[1]!.pause();
  const again = performance.now();
  assert.equal((await lease.attempt(claim({ wait: false }), CALL)).state, "contended");
  assert.ok(performance.now() - again < CALL.timeout, "not by its time limit");
  nodes.servers[1]!.resume();
  await other.release(theirs, ENTERED);
  assert.equal((await lease.attempt(claim(), CALL)).state, "granted");
});

test(
  "many who want it at the same moment: one at a time has it, all get it, tokens rise",
  patient,
  async () => {
    await using nodes = await Nodes.start(5);
    const managers = Array.from({ length: 6 }, () => new LockManager(redlock(nodes.urls, OPTIONS)));
    let inside = 0;
    let last = 0n;
    await Promise.all(managers.map(async (locks) => {
      for (let n = 0; n < 5; n++) {
        await using lock = await locks.acquire("k");
        assert.equal(++inside, 1);
        assert.ok(lock.token > last);
        last = lock.token;
        await sleep(1);
        inside--;
      }
    }));
    await Promise.all(managers.map((locks) => locks.close()));
  },
);

test("a semaphore cannot be had from majorities", patient, async () => {
  await using locks = new LockManager(redlock(["redis://127.0.0.1:1"]));
  await assert.rejects(locks.acquire("k", { limit: 2 }), (error) => {
    assert.ok(error instanceof RangeError);
    assert.match(error.message, /"limit".*majorities/);
    return true;
  });
});
