import { acquired } from "../actions.ts";
import { equal, ok } from "../assert.ts";
import { type Group, group } from "../group.ts";
import type { Scene } from "../scene.ts";

const ODD: readonly string[] = [
  "plain",
  "invoice:42",
  "Plain", // a store or file system that folds case would let it meet the first
  " ",
  " leading and trailing ",
  "a/b",
  "a//b",
  "/",
  "/a",
  "a/",
  ".",
  "..",
  "../..",
  "%",
  "%2F",
  "a%2Fb",
  "{a}b",
  "{}",
  "*",
  "a?b",
  "[a]",
  "a\nb",
  "a\r\nb",
  "\t",
  "\0",
  "a\0b",
  "\u007f",
  "é",
  "e\u0301", // the same to the eye
  "ß",
  "日本語",
  "🔒",
  "👩‍👩‍👧‍👦",
  "\ud800",
  "\udc00",
  "\udc00\ud800",
  "a\ud83d",
  "\ufeff",
  "\u202e",
  "__proto__",
  "constructor",
  "-1",
  "' OR 1=1 --",
  "$(true)",
  "\\",
  "#",
  "x".repeat(512),
  "/".repeat(512),
  "日".repeat(512),
  "🔒".repeat(256),
];

/** Every string is a key, and no two of them meet. */
export const keys: Group = group("keys", {
  // Goes red if: the encoding lets two keys meet, or a store refuses what it yields.
  async "every string is a key of its own"(scene: Scene) {
    const [a, b] = await scene.pair();
    const locks = await Promise.all(ODD.map((key) => acquired(a, key)));
    ok(locks.every(({ held }) => held), "all of them are held at once");
    for (const [at, key] of ODD.entries()) {
      const seen = await b.inspect(key);
      equal(
        [seen?.key, seen?.holders.map(({ id }) => id)],
        [key, [locks[at]!.id]],
        `key ${JSON.stringify(key)}`,
      );
    }
    const { held } = await b.query();
    equal((held ?? []).map(({ name }) => name).sort(), [...ODD].sort(), "query");
    await Promise.all(locks.map((lock) => lock.release()));
    equal((await b.query()).held, [], "query, after the release");
  },

  async "every string excludes itself"(scene: Scene) {
    const [a, b] = await scene.pair();
    const some = ODD.filter((key) => key.length < 512).filter((_, at) => at % 4 === 0);
    for (const key of [...some, "/".repeat(512), "🔒".repeat(256)]) {
      const lock = await acquired(a, key);
      equal(await b.tryAcquire(key), undefined, `key ${JSON.stringify(key)}`);
      await lock.release();
      ok(await b.tryAcquire(key), `key ${JSON.stringify(key)} after its release`);
    }
  },

  async "prefixes are any strings too, and no two pairs meet"(scene: Scene) {
    const pairs: [string, string][] = [["a", "b/c"], ["a/b", "c"], ["a", "b"], ["a/", "b"], ["a/b", "/c"], [
      "",
      "a",
    ], [
      "🔒\0",
      "a",
    ]];
    const locks = await Promise.all(pairs.map(async ([prefix, key]) => {
      const manager = await scene.manager({ prefix: `${scene.prefix}${prefix}` });
      return await acquired(manager, key);
    }));
    ok(locks.every(({ held }) => held), "all of them are held at once");
  },
});
