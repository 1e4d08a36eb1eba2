/** What `holdfast doctor` finds in a store, for the tests of each. */
import assert from "node:assert/strict";
import { openingOf } from "../backends/schemes.ts";
import type { Checkup, Finding, Verdict } from "../backends/shared/doctor.ts";

/** The password that tests give to users: no finding and no error may repeat it. */
export const PASSWORD = "pw-of-the-doctor";

/** All that is found by a URL. */
export async function examined(url: string, checkup: Partial<Checkup> = {}): Promise<Finding[]> {
  const findings: Finding[] = [];
  const signal = new AbortController().signal;
  try {
    for await (
      const finding of openingOf(url).examine({ ttl: 10_000, timeout: 10_000, signal, ...checkup })
    ) {
      findings.push(finding);
    }
  } catch (error) {
    assert.doesNotMatch((error as Error).message, new RegExp(PASSWORD));
    throw error;
  }
  assert.doesNotMatch(JSON.stringify(findings), new RegExp(PASSWORD));
  return findings;
}

/** Fails unless one finding of a topic has this verdict, and says this. */
export function assertFound(
  findings: readonly Finding[],
  topic: string,
  verdict: Verdict,
  says: RegExp = /./,
): void {
  const found = findings.some((one) => one.topic === topic && one.verdict === verdict && says.test(one.says));
  assert.ok(found, `no ${verdict} "${topic}" that says ${says} in ${JSON.stringify(findings, null, 1)}`);
}

/** The topics of what makes locks unsafe. */
export function unsafeTopics(findings: readonly Finding[]): string[] {
  return findings.filter(({ verdict }) => verdict === "unsafe").map(({ topic }) => topic);
}
