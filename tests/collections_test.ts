/** What the core keeps its objects in, against what JavaScript has. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Bag, type Member } from "../internal/bag.ts";

class Thing implements Member {
  slot = -1;
}

const same = (a: readonly unknown[], b: Iterable<unknown>): void =>
  assert.deepEqual(new Set(a), new Set(b), "the same things");

describe("a bag", () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(20)), { maxLength: 200 });

  test("holds what a set would", () => {
    fc.assert(fc.property(steps, (steps) => {
      const things = Array.from({ length: 21 }, () => new Thing());
      const [bag, set] = [new Bag<Member>(), new Set<Member>()];
      for (const [adds, at] of steps) {
        const thing = things[at]!;
        if (!adds) assert.equal(bag.delete(thing), set.delete(thing));
        else if (!set.has(thing)) {
          set.add(thing);
          bag.add(thing);
        }
        assert.equal(bag.size, set.size);
        assert.equal(bag.values().length, set.size);
        same(bag.values(), set);
      }
      bag.clear();
      for (const thing of things) assert.equal(bag.delete(thing), false);
    }));
  });

  test("lists what it had, whatever is taken out meanwhile", () => {
    const bag = new Bag<Member>();
    const things = Array.from({ length: 5 }, () => new Thing());
    for (const thing of things) bag.add(thing);
    const seen = [];
    for (const thing of bag.values()) {
      seen.push(thing);
      bag.delete(thing);
    }
    same(seen, things);
    assert.equal(bag.size, 0);
  });
});
