/** Counts the tests in a JUnit report, the one format that Deno, Bun and Node all write. */

/** How many tests ended how. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** What a report says. */
export interface Report extends Counts {
  /** Each test that failed, and its error's first line. */
  readonly failures: readonly string[];
}

/** Its attributes, whose values may contain a bare ">", and its content. */
const TESTCASE = /<testcase((?:\s+[\w-]+="[^"]*")*)\s*(?:\/>|>([\s\S]*?)<\/testcase>)/g;

/** Counts each test once: Deno lists a suite too, among its tests. */
export function count(report: string): Report {
  const cases = [...report.matchAll(TESTCASE)].map((match) => ({
    name: /\bname="([^"]*)"/.exec(match[1]!)?.[1] ?? "",
    body: match[2] ?? "",
  }));
  const suites = new Set<string>();
  for (const { name } of cases) {
    const path = name.split(" &gt; ");
    for (let depth = 1; depth < path.length; depth++) suites.add(path.slice(0, depth).join(" &gt; "));
  }
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const failures: string[] = [];
  for (const { name, body } of cases) {
    if (suites.has(name)) continue;
    const failure = /<(?:failure|error)\b(?:[^>]*?\bmessage="([^"]*)")?[^>]*>([^<]*)/.exec(body);
    if (failure !== null) {
      counts.failed++;
      const [line = ""] = (failure[1] || failure[2]!).trim().split(/\n|&#10;/);
      failures.push(text(`${name}: ${line}`));
    } else if (/<skipped\b/.test(body)) counts.skipped++;
    else counts.passed++;
  }
  return { ...counts, failures };
}

/** Undoes what XML makes of some characters. */
function text(escaped: string): string {
  return escaped.replaceAll(
    /&(lt|gt|quot|apos);/g,
    (_, name: "lt" | "gt" | "quot" | "apos") => CHARACTERS[name],
  )
    .replaceAll("&amp;", "&");
}

const CHARACTERS = { lt: "<", gt: ">", quot: '"', apos: "'" } as const;
