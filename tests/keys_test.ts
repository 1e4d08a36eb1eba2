/** Any string is a key: the encoding is injective, readable, and made of harmless characters. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeKey, decodePart, encodeKey, encodePart } from "../internal/keys.ts";

/** UTF-16 of every kind: lone surrogates and what is special to the encoding more often than by chance. */
const unit = fc.oneof(
  fc.constantFrom(
    "%",
    "/",
    ".",
    "\0",
    "\n",
    " ",
    "a",
    "2",
    "F",
    "\ud83d",
    "\udd12",
    "\udc00",
    "\udfff",
    "\ud800",
    "é",
    "日",
  ),
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
);
const text = fc.array(unit, { maxLength: 40 }).map((units) => units.join(""));

describe("the encoding of keys", () => {
  test("every string comes back", () => {
    fc.assert(fc.property(text, (text) => assert.equal(decodePart(encodePart(text)), text)), {
      numRuns: 2_000,
    });
    fc.assert(fc.property(text, text, (prefix, key) => assert.equal(decodeKey(encodeKey(prefix, key)), key)));
  });

  // Goes red if: the separator or the escape character is left as it is.
  test("no two pairs of prefix and key meet", () => {
    fc.assert(
      fc.property(text, text, text, text, (prefix1, key1, prefix2, key2) => {
        const same = prefix1 === prefix2 && key1 === key2;
        assert.equal(encodeKey(prefix1, key1) === encodeKey(prefix2, key2), same);
      }),
      { numRuns: 2_000 },
    );
    // Moving the border between the two.
    fc.assert(fc.property(text, fc.nat(40), fc.nat(40), (text, at1, at2) => {
      const split = (at: number) => encodeKey(text.slice(0, at), text.slice(at));
      const same = Math.min(at1, text.length) === Math.min(at2, text.length);
      assert.equal(split(at1) === split(at2), same);
    }));
  });

  test("an encoded text is not its own code", () => {
    fc.assert(fc.property(text, (text) => {
      const code = encodePart(text);
      if (code !== text) assert.notEqual(encodePart(code), code);
    }));
  });

  test("only harmless characters come out, and one separator", () => {
    fc.assert(fc.property(text, text, (prefix, key) => {
      assert.match(encodeKey(prefix, key), /^[A-Za-z0-9_.:@+=,%-]+\/[A-Za-z0-9_.:@+=,%-]+$/);
      for (const part of encodeKey(prefix, key).split("/")) assert.doesNotMatch(part, /^\.{1,2}$/);
    }));
  });

  test("plain names stay readable", () => {
    for (const plain of ["invoice:42", "a.b-c_d", "user@example.org", "x=1,y=2", "...", ".hidden"]) {
      assert.equal(encodePart(plain), plain);
    }
    assert.equal(encodeKey("holdfast", "invoice:42"), "holdfast/invoice:42");
  });

  test("what is special is escaped as bytes", () => {
    const codes: [string, string][] = [
      ["", "%"],
      [".", "%2E"],
      ["..", "%2E%2E"],
      ["a/b", "a%2Fb"],
      ["%", "%25"],
      ["\0", "%00"],
      ["é", "%C3%A9"],
      ["日", "%E6%97%A5"],
      ["🔒", "%F0%9F%94%92"],
      ["\ud800", "%ED%A0%80"],
      ["\udfff", "%ED%BF%BF"],
      ["\udc00\ud800", "%ED%B0%80%ED%A0%80"],
    ];
    for (const [text, code] of codes) {
      assert.equal(encodePart(text), code);
      assert.equal(decodePart(code), text);
    }
  });

  test("a unit of a key takes at most nine characters", () => {
    fc.assert(
      fc.property(fc.array(unit, { minLength: 512, maxLength: 512 }), (units) => {
        assert.ok(encodePart(units.join("").slice(0, 512)).length <= 512 * 9);
      }),
      { numRuns: 20 },
    );
  });
});
