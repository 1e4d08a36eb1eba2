/** What answers tell of a server's clock. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "node:test";
import { ServerTime } from "../backends/shared/server_time.ts";

/** Microseconds by which the server's clock is ahead of ours. */
const AHEAD = 1_000_000_000;

/** An answer that was given `there` after it was asked for, and came `back` later; milliseconds. */
interface Answer {
  readonly sent: number;
  readonly there: number;
  readonly back: number;
}

function learn(server: ServerTime, { sent, there, back }: Answer, ahead: number = AHEAD): void {
  server.learn(ahead + (sent + there) * 1_000, sent, sent + there + back);
}

// Red if: a narrower bound is widened by a later answer.
test("answers narrow it down, and it is late rather than early", () => {
  const ms = fc.integer({ min: 0, max: 5_000 });
  const answers = fc.array(fc.record({ sent: ms, there: ms, back: ms }), { minLength: 1 });
  fc.assert(fc.property(answers, (all) => {
    const server = new ServerTime();
    for (const answer of all) learn(server, answer);
    assert.equal(server.at(100), AHEAD + 100_000 + 1_000 * Math.min(...all.map(({ there }) => there)));
    const least = Math.min(...all.map(({ there }) => there)) + Math.min(...all.map(({ back }) => back));
    assert.equal(server.uncertainty, 1_000 * least);
  }));
});

// Red if: what was once learned is believed for ever.
test("a clock that was set, or does not keep pace, is learned anew", () => {
  const server = new ServerTime();
  for (const ahead of [AHEAD, AHEAD + 3_600_000_000, AHEAD - 3_600_000_000]) {
    learn(server, { sent: 0, there: 2, back: 3 }, ahead);
    assert.equal(server.at(0), ahead + 2_000);
    assert.equal(server.uncertainty, 5_000);
  }
});

test("nothing is known before the first answer, of another server, or from what is no time", () => {
  const server = new ServerTime();
  for (const time of [NaN, Infinity, -Infinity]) {
    server.learn(time, 0);
    assert.equal(server.now, undefined);
  }
  learn(server, { sent: 0, there: 1, back: 1 });
  assert.ok(server.now! >= AHEAD);
  server.forget();
  assert.equal(server.now, undefined);
});
