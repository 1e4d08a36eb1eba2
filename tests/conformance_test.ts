/** The conformance suite on every backend of `backends.ts`. */
import { after, describe, test } from "node:test";
import { backends } from "./backends.ts";
import { conformance, sideBySide } from "./conformance/mod.ts";

/** Most of a case is waiting for a store, so many run at once. */
const WIDTH = 32;

for (const [name, open] of Object.entries(backends)) {
  const harness = await open();
  describe(`conformance of ${name}`, () => {
    for (const { group, name, skip, run } of sideBySide(conformance(harness), WIDTH)) {
      test(`${group}: ${name}`, { skip: skip ?? false, timeout: 150_000 }, run);
    }
    after(async () => await harness[Symbol.asyncDispose]?.());
  });
}
