/** What all fences have in common: how tokens and keys are written, and the rule. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { memoryFence, StaleTokenError } from "../../fence.ts";
import { decodeToken, encodeName, encodeToken } from "../../internal/fence/fence.ts";
import { LockError } from "../../mod.ts";

const tokens = fc.bigInt({ min: 0n, max: 10n ** 40n - 1n });
/** UTF-16 units of any kind, lone surrogates too, and lengths up to the longest. */
const keys = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 512 })
    .map((units) => String.fromCharCode(...units)),
);

test("a token is written in as many digits as any other, so that texts are in the order of numbers", () => {
  fc.assert(fc.property(tokens, tokens, (a, b) => {
    const [left, right] = [encodeToken(a), encodeToken(b)];
    assert.equal(left < right, a < b);
    assert.equal(decodeToken(left), a);
  }));
  for (const token of [0n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n, 10n ** 40n - 1n]) {
    assert.equal(decodeToken(encodeToken(token)), token);
  }
});

test("what no fence has written is not taken for a token", () => {
  for (const text of [undefined, null, "", "7", 7, "x".repeat(40), `-${"0".repeat(39)}`, "0".repeat(41)]) {
    assert.throws(() => decodeToken(text), /not written by a fence/);
  }
});

test("a key has one name, no other key has it, and any store can have it", () => {
  const seen = new Map<string, string>();
  fc.assert(fc.property(keys, (key) => {
    const name = encodeName(key);
    assert.match(name, /^[!-.0-~]{1,1400}$/);
    assert.equal(encodeName(key), name);
    assert.equal(seen.get(name) ?? key, key);
    seen.set(name, key);
  }));
  const long = [..."漢字\u0141\u0241"].map((character) => character.repeat(512));
  assert.equal(new Set(long.map(encodeName)).size, 4);
  for (const key of long) assert.match(encodeName(key), /^~[^/]{1,1399}$/);
  assert.equal(encodeName("invoice:42"), "invoice:42");
});

test("it refuses a token smaller than the greatest of the key, and nothing else", () => {
  const claims = fc.record({ key: fc.constantFrom("a", "b"), token: fc.bigInt({ min: 0n, max: 9n }) });
  fc.assert(fc.property(fc.array(claims), (all) => {
    const fence = memoryFence();
    const greatest: Record<string, bigint> = { a: 0n, b: 0n };
    for (const { key, token } of all) {
      const seen = greatest[key]!;
      if (token < seen) {
        assert.throws(() => fence.checkSync(key, token), new StaleTokenError(key, token, seen));
      } else {
        fence.checkSync(key, token);
        greatest[key] = token;
      }
    }
  }));
});

test("the error says which lock and which tokens, is a LockError, and is JSON", async () => {
  const fence = memoryFence();
  await fence.check("a\nkey", 2n ** 63n);
  const error: unknown = await fence.check("a\nkey", 2n ** 63n - 1n).catch((error) => error);
  assert.ok(error instanceof StaleTokenError && error instanceof LockError);
  const { name, code, key, token, seen } = error;
  assert.deepEqual([name, code, key, token, seen], [
    "StaleTokenError",
    "stale",
    "a\nkey",
    2n ** 63n - 1n,
    2n ** 63n,
  ]);
  assert.match(error.message, /token 9223372036854775807: token 9223372036854775808 .* "a\\nkey"/);
  assert.equal(JSON.parse(JSON.stringify(error)).seen, "9223372036854775808");
});

test("what is no key or no token is refused, and nothing is remembered", async () => {
  const fence = memoryFence();
  const refused = async (key: unknown, token: unknown, expected: object) => {
    await assert.rejects(fence.check(key as string, token as bigint), expected);
    assert.throws(() => fence.checkSync(key as string, token as bigint), expected);
  };
  await refused(7, 1n, { name: "TypeError", message: /key to be a string, got number/ });
  await refused("k", 7, { name: "TypeError", message: /token to be a bigint, as lock.token is, got number/ });
  await refused("k", "7", { name: "TypeError" });
  await refused("k", -1n, { name: "RangeError", message: /got -1/ });
  await refused("k", 10n ** 40n, { name: "RangeError" });
  await refused("k".repeat(513), 1n, { name: "RangeError", message: /at most 512 UTF-16 units, got 513/ });
  fence.checkSync("k", 0n);
});
