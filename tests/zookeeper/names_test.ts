import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { endOf, isOf, nameOf, pathOf, queueOf } from "../../backends/zookeeper/names.ts";
import { type Own, OwnNode } from "../../backends/zookeeper/own_node.ts";
import { claim } from "../support.ts";

const id = "0b5e9c1e-6d0f-4a3c-9d2a-0123456789ab";

describe("names of ZooKeeper nodes", () => {
  test("say all that the queue rule needs, and read back as they were", () => {
    for (
      const [options, name] of [
        [{}, `_c_${id}-lock-`],
        [{ limit: Infinity }, `_c_${id}-shared-lock-`],
        [{ limit: 12 }, `_c_${id}-limit12-lock-`],
        [{ steal: true }, `_c_${id}-steal-lock-`],
        [{ limit: 2, steal: true }, `_c_${id}-limit2-steal-lock-`],
      ] as const
    ) {
      const asked = claim({ id, ...options });
      assert.equal(nameOf(asked), name);
      const [read] = queueOf([`${name}0000000042`]);
      assert.deepEqual(
        [read!.id, read!.limit, read!.thief, read!.sequence],
        [id, asked.limit, asked.steal, 42],
      );
      assert.ok(isOf(read!.name, asked));
    }
  });

  test("Curator's are exclusive, and so is what nobody knows; what has no number does not stand in the queue", () => {
    const queue = queueOf([
      `_c_${id}-lock-0000000003`,
      "x-0000000001",
      "__READ__0000000002",
      "lock",
      "~other",
    ]);
    assert.deepEqual(queue.map(({ sequence, limit }) => [sequence, limit]), [[1, 1], [2, 1], [3, 1]]);
  });

  test("numbers that have wrapped come after those before them", () => {
    const numbers = ["2147483646", "2147483647", "-2147483648", "-2147483647"];
    const names = numbers.map((number) => `_c_${id}-lock-${number}`);
    assert.deepEqual(queueOf(names.toReversed()).map(({ name }) => name), names);
    assert.deepEqual(
      queueOf([`_c_${id}-lock--000000001`, `_c_${id}-lock-0000000000`]).map(({ sequence }) => sequence),
      [
        -1,
        0,
      ],
    );
  });

  test("a thief behind its place has taken a claim away; one ahead has not", () => {
    const mine = `_c_${id}-lock-0000000005`;
    const thief = (number: string) => queueOf([`_c_a-steal-lock-${number}`]);
    assert.equal(endOf(mine, thief("0000000006")), "stolen");
    assert.equal(endOf(mine, thief("0000000004")), "revoked");
    assert.equal(endOf(mine, []), "revoked");
  });

  test("/zookeeper is left alone", () => {
    assert.equal(pathOf("/app", "holdfast/k"), "/app/holdfast/k");
    assert.equal(pathOf("", "zookeeper/quota"), "/%7Aookeeper/quota");
    assert.equal(pathOf("", "zookeeper/"), "/%7Aookeeper/");
    assert.equal(pathOf("", "zookeepers/k"), "/zookeepers/k");
  });
});

// Red if: a claim is granted of whose own node nothing is known, or while others are ahead that are not watched.
test("what a departure says of the claim behind it: only while its own node and everyone ahead are watched", () => {
  const queue = queueOf([1, 2].map((n) => `_c_${id}${n}-lock-000000000${n}`));
  const known = (what: Partial<OwnNode>, gone?: Own, next = true, ahead = queue.slice(0, 1)) => {
    const own = { next, ahead } as Partial<Own> as Own;
    const node = Object.assign(new OwnNode(own, "/k", queue[1]!.name, 7n), { guarded: true, queue }, what);
    return node.passed(queue[0]!.name, gone);
  };
  assert.deepEqual(known({}), { queue: [queue[1]], token: 7n });
  for (const what of [{ guarded: false }, { guarded: undefined }, { over: true }, { queue: undefined }]) {
    assert.equal(known(what), true);
  }

  // One of ours that has held alone had nobody ahead: then the queue need not be known.
  const held = (limit: number, state: "granted" | "contended") =>
    ({ claim: { limit }, outcome: { state } }) as unknown as Own;
  assert.deepEqual(known({ queue: undefined }, held(1, "granted")), { queue: [queue[1]], token: 7n });
  assert.equal(known({ queue: undefined, guarded: false }, held(1, "granted")), true);
  assert.equal(known({ queue: undefined }, held(1, "granted"), false), true);
  assert.equal(known({ queue: undefined }, held(1, "granted"), true, []), true); // it waits for others by now
  assert.equal(known({ queue: undefined }, held(2, "granted")), true);
  assert.equal(known({ queue: undefined }, held(1, "contended")), true);
});
