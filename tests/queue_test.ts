/** The one rule, and whom a waiter watches, against a brute-force model. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { holders, type Limited, watched } from "../internal/queue.ts";

/** A claim that can be told from others. */
interface Named extends Limited {
  readonly name: number;
}

const limit = fc.oneof(
  { weight: 4, arbitrary: fc.constant(1) },
  { weight: 4, arbitrary: fc.constant(Infinity) },
  { weight: 4, arbitrary: fc.integer({ min: 2, max: 5 }) },
  { weight: 1, arbitrary: fc.integer({ min: 6, max: 100 }) },
);

const queues = fc.array(limit, { maxLength: 12 }).map((limits): Named[] =>
  limits.map((limit, name) => ({ limit, name }))
);

const occupied = queues.filter(({ length }) => length > 0);

/** The sentence of the contract, word for word. */
function holds(queue: readonly Limited[], index: number): boolean {
  return index < Math.min(...queue.slice(0, index + 1).map(({ limit }) => limit));
}

/** Every subset of the claims ahead. */
function* subsets<P>(items: readonly P[]): Generator<P[]> {
  for (let mask = 0; mask < 1 << items.length; mask++) yield items.filter((_, at) => mask & 1 << at);
}

/** Whether these claims keep `own` waiting whatever becomes of all others ahead. */
function blocks(set: readonly Limited[], own: Limited): boolean {
  return set.length >= Math.min(own.limit, ...set.map(({ limit }) => limit));
}

describe("the queue rule", () => {
  // Goes red if: `>=` becomes `>`, or the smallest limit is taken over the holders' own only.
  test("holders are those the rule names, and the front of the queue", () => {
    fc.assert(
      fc.property(queues, (queue) => {
        const count = holders(queue);
        assert.deepEqual(
          queue.map((_, index) => holds(queue, index)),
          queue.map((_, index) => index < count),
        );
      }),
      { numRuns: 2_000 },
    );
  });

  test("somebody holds wherever somebody is", () => {
    fc.assert(fc.property(queues, (queue) => assert.equal(holders(queue) > 0, queue.length > 0)));
  });

  test("no holder has more company than it allows", () => {
    fc.assert(fc.property(queues, (queue) => {
      const count = holders(queue);
      for (const { limit } of queue.slice(0, count)) {
        assert.ok(count <= limit, `${count} holders, one allows ${limit}`);
      }
    }));
  });

  // Goes red if: the rule looks at the claims behind.
  test("a grant stays whatever enters behind it", () => {
    fc.assert(fc.property(queues, queues, (queue, behind) => {
      const before = holders(queue);
      assert.ok(holders([...queue, ...behind]) >= before);
      if (before < queue.length) assert.equal(holders([...queue, ...behind]), before);
    }));
  });

  test("a grant stays whoever leaves", () => {
    fc.assert(fc.property(occupied, fc.nat(), (queue, at) => {
      const leaving = at % queue.length;
      const held = new Set(queue.slice(0, holders(queue)));
      const rest = queue.toSpliced(leaving, 1);
      const now = new Set(rest.slice(0, holders(rest)));
      for (const place of held) assert.ok(place === queue[leaving] || now.has(place));
    }));
  });

  test("the three classic locks are the rule", () => {
    const of = (...limits: number[]) => holders(limits.map((limit) => ({ limit })));
    assert.equal(of(), 0);
    assert.equal(of(1, 1, 1), 1, "a mutex");
    assert.equal(of(3, 3, 3, 3), 3, "a semaphore");
    assert.equal(of(Infinity, Infinity, 1, Infinity), 2, "readers, then a writer, then a reader");
    assert.equal(of(1, Infinity, Infinity), 1, "a writer, then readers");
    assert.equal(of(5, 2, 5, 5), 2, "the smallest limit counts");
    assert.equal(of(5, 5, 5, 2), 3, "and the claim's own");
  });
});

describe("whom a waiter watches", () => {
  test("a holder watches nobody", () => {
    fc.assert(fc.property(occupied, (queue) => {
      for (let index = 0; index < queue.length; index++) {
        assert.equal(watched(queue, index).length === 0, index < holders(queue));
      }
    }));
  });

  // Goes red if: only the predecessor is watched.
  test("no claim that could hold sleeps on while all it watches stay", () => {
    fc.assert(
      fc.property(occupied, fc.array(fc.nat(), { maxLength: 12 }), (queue, leaving) => {
        for (let index = holders(queue); index < queue.length; index++) {
          const own = queue[index]!;
          const asleep = new Set(watched(queue, index));
          let left = queue.slice(0, index + 1);
          for (const at of leaving) {
            const others = left.filter((place) => place !== own && !asleep.has(place));
            if (others.length === 0) break;
            const gone = others[at % others.length];
            left = left.filter((place) => place !== gone);
            assert.ok(!holds(left, left.indexOf(own)), `${own.name} could hold and nobody wakes it`);
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  // Goes red if: all claims ahead are watched (a herd), or one that does not matter.
  test("it is a smallest set that keeps the claim waiting, nearest first", () => {
    fc.assert(
      fc.property(occupied.filter(({ length }) => length <= 9), (queue) => {
        for (let index = holders(queue); index < queue.length; index++) {
          const own = queue[index]!;
          const set = watched(queue, index);
          assert.ok(blocks(set, own), "the set itself keeps it waiting");
          assert.ok(set.every((place) => queue.indexOf(place) < index), "all of it is ahead");
          assert.deepEqual(set, set.toSorted((a, b) => b.name - a.name), "nearest first");
          for (const other of subsets(queue.slice(0, index))) {
            if (other.length < set.length) assert.ok(!blocks(other, own), "no smaller set would do");
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("mutex: the predecessor; reader: the nearest exclusive; semaphore of n: the n before", () => {
    const names = (limits: number[]) =>
      watched(limits.map((limit, name) => ({ limit, name })), limits.length - 1).map(({ name }) => name);
    assert.deepEqual(names([1, 1, 1]), [1]);
    assert.deepEqual(names([1, Infinity, 1, Infinity, Infinity]), [2]);
    assert.deepEqual(names([3, 3, 3, 3, 3]), [3, 2, 1]);
    assert.deepEqual(names([Infinity, Infinity, 1]), [1]);
  });
});
