/**
 * The conformance suite on every backend of `backends.ts`. It runs on Deno 2.7 too, whose `node:test` has no
 * `after`, and starts all tests of a `describe` at once: hence no `describe`, and a last test that cleans up.
 */
import { test } from "node:test";
import { backends } from "./backends.ts";
import { conformance, sideBySide } from "./conformance/mod.ts";

/** Most of a case is waiting for a store, so many run at once. */
const WIDTH = 12;

for (const [backend, open] of Object.entries(backends)) {
  const harness = await open();
  for (const { group, name, skip, run } of sideBySide(conformance(harness), WIDTH)) {
    test(`${backend}, ${group}: ${name}`, { skip: skip ?? false, timeout: 150_000 }, run);
  }
  test(`${backend}: what was started for it ends`, async () => await harness[Symbol.asyncDispose]?.());
}
