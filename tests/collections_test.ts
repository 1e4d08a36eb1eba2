/** What the core keeps its objects in, against what JavaScript has. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Bag, type Member } from "../internal/bag.ts";
import { Table } from "../internal/table.ts";

const same = (a: readonly unknown[], b: Iterable<unknown>): void =>
  assert.deepEqual(new Set(a), new Set(b), "the same things");

describe("a bag", () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(20)), { maxLength: 200 });

  test("holds what a set would", () => {
    fc.assert(fc.property(steps, (steps) => {
      const things = Array.from({ length: 21 }, (): Member => ({ slot: -1 }));
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
    const things = Array.from({ length: 5 }, (): Member => ({ slot: -1 }));
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

describe("a table", () => {
  const name = fc.oneof(fc.string(), fc.constantFrom("", "a", "b", "ab", "__proto__", "constructor"));
  const steps = fc.array(fc.tuple(fc.constantFrom("set", "set", "delete", "clear"), name), {
    maxLength: 200,
  });

  test("holds what a map would", () => {
    fc.assert(fc.property(steps, (steps) => {
      const [table, map] = [new Table<number>(), new Map<string, number>()];
      for (const [n, [what, name]] of steps.entries()) {
        if (what === "delete") assert.equal(table.delete(name), map.delete(name));
        else if (what === "set") {
          table.set(name, n);
          map.set(name, n);
        } else if (n % 50 === 0) {
          table.clear();
          map.clear();
        }
        assert.equal(table.get(name), map.get(name));
        assert.equal(table.size, map.size);
      }
      same(table.names(), map.keys());
      same(table.values(), map.values());
    }));
  });

  test("of many thousands has none of them twice, and finds each", () => {
    const table = new Table<number>();
    for (let n = 0; n < 20_000; n++) table.set(`key ${n}`, n);
    for (let n = 0; n < 20_000; n++) assert.equal(table.get(`key ${n}`), n);
    assert.equal(new Set(table.names()).size, 20_000);
    for (let n = 0; n < 20_000; n++) assert.equal(table.delete(`key ${n}`), true);
    assert.equal(table.size, 0);
    assert.deepEqual(table.values(), []);
  });
});
