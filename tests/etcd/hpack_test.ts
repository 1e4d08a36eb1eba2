/** Header blocks, by the examples of RFC 7541, and those that are none. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, test } from "node:test";
import { decode, encode } from "../../backends/etcd/client/http2/hpack.ts";

const read = (hex: string): [string, string][] =>
  Object.entries(decode(Buffer.from(hex.replaceAll(" ", ""), "hex")));

describe("a header block", () => {
  test("of the RFC's examples is what they say (C.2, C.3.1, C.4.1, C.6.1)", () => {
    assert.deepEqual(read("040c 2f73 616d 706c 652f 7061 7468"), [[":path", "/sample/path"]]);
    assert.deepEqual(read("1008 7061 7373 776f 7264 0673 6563 7265 74"), [["password", "secret"]]);
    const request = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [
      ":authority",
      "www.example.com",
    ]];
    assert.deepEqual(read("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d"), request);
    assert.deepEqual(read("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"), request);
    assert.deepEqual(
      read(`4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d
        29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`.replaceAll(/\s/g, "")),
      [
        [":status", "302"],
        ["cache-control", "private"],
        ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
        ["location", "https://www.example.com"],
      ],
    );
  });

  test("that is written can be read, whatever the lengths", () => {
    const text = fc.string({ maxLength: 400 });
    const name = fc.stringMatching(/^[a-z:-]{1,200}$/);
    fc.assert(fc.property(fc.dictionary(name, text, { noNullPrototype: true }), (fields) => {
      assert.deepEqual({ ...decode(encode(fields)) }, fields);
    }));
    const long = "x".repeat(100_000);
    assert.equal(decode(encode({ token: long }))["token"], long);
  });

  test("may begin with the word that there is no table", () => {
    assert.deepEqual(read("20 88"), [[":status", "200"]]);
  });

  test("that is none, or refers to another, is an error", () => {
    const bad = {
      "an entry that no block may have": "be",
      "entry 0": "80",
      "a table that was refused": "3f e1 1f",
      "a name that is cut off": "00 05 61 62",
      "a value that is missing": "00 01 61",
      "a length that is cut off": "00 7f",
      "a length without end": "00 7f ff ff ff ff ff ff",
      "padding that is no ones": "00 01 61 81 18",
      "padding of a whole byte": "00 01 61 82 1f ff",
      "the end of a string within it": "00 01 61 84 ff ff ff ff",
    };
    for (const [why, hex] of Object.entries(bad)) assert.throws(() => read(hex), Error, why);
  });

  test("of any bytes is read or refused, and does not take for ever", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decode(Buffer.from(bytes));
        } catch (error) {
          assert.match((error as Error).message, /^the server/);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
