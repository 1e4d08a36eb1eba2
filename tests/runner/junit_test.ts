/** The counts that decide whether a run has passed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { count } from "./junit.ts";

test("passed, failed and skipped tests are told apart", () => {
  const report = `<testsuites><testsuite name="s">
    <testcase name="a" time="1"/>
    <testcase name="b" time="1"></testcase>
    <testcase name="c" failure="no"><failure message="1 > 2">at x</failure></testcase>
    <testcase name="d"><error message="thrown"/></testcase>
    <testcase name="e"><skipped type="skipped" message="because"/></testcase>
  </testsuite></testsuites>`;
  const failures = ["c: 1 > 2", "d: thrown"];
  assert.deepEqual(count(report), { passed: 2, failed: 2, skipped: 1, failures });
});

test("Node does not escape the > of a name", () => {
  assert.deepEqual(count(`<testcase name="a > b" classname="t > u"/>`), {
    passed: 1,
    failed: 0,
    skipped: 0,
    failures: [],
  });
});

test("Deno lists a suite as a test, and its failure as one more", () => {
  const report =
    `<testcase name="s"><failure message="1 test step failed">1 test step failed.</failure></testcase>
    <testcase name="s &gt; x"><failure message="no">no</failure></testcase>
    <testcase name="s &gt; t"></testcase>
    <testcase name="s &gt; t &gt; y"></testcase>`;
  assert.deepEqual(count(report), { passed: 1, failed: 1, skipped: 0, failures: ["s > x: no"] });
});

test("no report is no test", () => {
  assert.deepEqual(count(""), { passed: 0, failed: 0, skipped: 0, failures: [] });
});
