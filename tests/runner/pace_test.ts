/** How many files run at once, and in which order they start. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { runAll } from "./pace.ts";

test("as many run at once as are asked for, and each that ends lets the next one start", async () => {
  const { JOBS } = process.env;
  process.env.JOBS = "2";
  try {
    const started: string[] = [];
    const ends: (() => void)[] = [];
    const taken: number[] = [];
    const all = runAll(["a", "b", "c", "d"], (job, seat) => {
      started.push(job);
      taken.push(seat);
      return new Promise<void>((end) => ends.push(end));
    });
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    await turn();
    assert.deepEqual(started, ["a", "b"]);
    ends[1]!();
    await turn();
    assert.deepEqual(started, ["a", "b", "c"]);
    ends[0]!();
    ends[2]!();
    await turn();
    assert.deepEqual(started, ["a", "b", "c", "d"]);
    ends[3]!();
    await all;
    assert.deepEqual(taken, [0, 1, 1, 1], "the seat of who has ended");
  } finally {
    if (JOBS === undefined) delete process.env.JOBS;
    else process.env.JOBS = JOBS;
  }
});

test("a job that cannot be run is the run's failure", async () => {
  await assert.rejects(runAll(["a"], () => Promise.reject(new Error("no"))), { message: "no" });
});
