/** What `holdfast doctor` says of locks in memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertFound, examined } from "../doctor.ts";

test("locks in memory keep no other process out", async () => {
  const findings = await examined("memory:");
  assert.equal(findings.length, 1);
  assertFound(findings, "scope", "note", /one process alone/);
});
