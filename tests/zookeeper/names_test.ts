import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Claim } from "../../internal/backend.ts";
import { endOf, isOf, nameOf, pathOf, queueOf } from "../../backends/zookeeper/names.ts";

const id = "0b5e9c1e-6d0f-4a3c-9d2a-0123456789ab";
const claim = (options: Partial<Claim> = {}) =>
  ({ id, mode: "exclusive", limit: 1, steal: false, ...options }) as Claim;

describe("names of ZooKeeper nodes", () => {
  test("say all that the queue rule needs, and read back as they were", () => {
    for (
      const [options, name] of [
        [{}, `_c_${id}-lock-`],
        [{ mode: "shared", limit: Infinity }, `_c_${id}-shared-lock-`],
        [{ limit: 12 }, `_c_${id}-limit12-lock-`],
        [{ steal: true }, `_c_${id}-steal-lock-`],
        [{ limit: 2, steal: true }, `_c_${id}-limit2-steal-lock-`],
      ] as const
    ) {
      const asked = claim(options);
      assert.equal(nameOf(asked), name);
      const [read] = queueOf([`${name}0000000042`]);
      assert.deepEqual(
        [read!.id, read!.mode, read!.limit, read!.thief, read!.sequence],
        [id, asked.mode, asked.limit, asked.steal, 42],
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
