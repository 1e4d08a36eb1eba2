/**
 * What is told of the benchmarks is what they found: the READMEs and the pictures are those of `bench/report.json`.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { figures, kept } from "../bench/bounds.ts";
import type { Report, Series } from "../bench/harness/report.ts";
import { pictures } from "../bench/pictures/pictures.ts";
import { figuresSection, tables, withSection } from "../bench/tables.ts";

const report: Report = JSON.parse(read("bench/report.json"));
const files = readdirSync(new URL("../bench/pictures", import.meta.url)).filter((name) =>
  name.endsWith(".svg")
);

test("the READMEs say what the report says", () => {
  for (
    const [file, section] of [["README.md", figuresSection(report)], ["bench/README.md", tables(report)]]
  ) {
    const text = read(file!);
    assert.equal(text, withSection(text, section!), `${file} is out of date: deno run -A bench/publish.ts`);
  }
});

// Red if: Plot finds out that it is tested, as on Bun by a function named `it`, and moves its lines.
test("the pictures show what the report says", () => {
  const drawn = pictures(report);
  assert.deepEqual(files.toSorted(), Object.keys(drawn).sort());
  for (const name of files) {
    const found = difference(geometry(read(`bench/pictures/${name}`)), geometry(drawn[name]!));
    assert.equal(found, undefined, `${name} is out of date: deno run -A bench/publish.ts: ${found}`);
  }
});

test("no number in the README's section is written by hand: if the report were another, each would be", () => {
  const [numbers, others] = [report, changed(report)].map(numbersOf) as [string[], string[]];
  assert.ok(numbers.length > 0);
  assert.equal(others.length, numbers.length);
  for (const [at, number] of numbers.entries()) assert.notEqual(number, others[at], `the number ${at}`);
});

test("a reason explains so much and no more: what is far worse than it was has none", () => {
  const taken = {
    scenario: "flight",
    store: "memory",
    network: "loopback",
    runtime: "node",
    size: 1,
  } as const;
  const asFast = (rate: number) => {
    const series: Series[] = [
      { ...taken, kind: "ours", subject: "Holdfast", rate },
      { ...taken, kind: "peer", subject: "async-mutex", rate: 100 },
    ];
    const found = figures({ ...report, series }).find(({ name }) => name === "memory")!;
    return [kept(found), found.why !== undefined];
  };
  assert.deepEqual([60, 50, 10].map(asFast), [[true, false], [false, true], [false, false]]);
});

test("the README shows pictures that are there, and says what is on them", () => {
  const images = [
    ...figuresSection(report).matchAll(/<img src="bench\/pictures\/([^"]*)" width="800" alt="([^"]*)">/g),
  ];
  assert.equal(images.length, 3);
  for (const [, file, alt] of images) {
    assert.ok(files.includes(file!), file);
    assert.ok(alt!.length > 40, alt);
  }
});

for (const file of files) {
  test(`${file} is an image for light and dark that needs nothing else`, () => {
    const svg = read(`bench/pictures/${file}`);
    assert.equal(fault(svg), undefined);
    assert.match(svg, /^<svg [^>]*\bxmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    assert.match(svg, /^<svg [^>]*\bviewBox="0 0 640 \d+"/);
    assert.match(svg, /<title>[^<]{20,}<\/title>/);
    assert.match(svg, /@media \(prefers-color-scheme:dark\)/);
    assert.doesNotMatch(
      svg,
      /<script|<foreignObject|\son\w+=|href|url\(|@import|@font-face|NaN|Infinity|undefined/,
    );
    const known = new Set(svg.match(/--\w+(?=:)/g));
    for (const [, name] of svg.matchAll(/var\((--\w+)\)/g)) assert.ok(known.has(name!), `no colour ${name}`);
    assert.deepEqual(svg.match(/ id="[^"]*"/g), null, "an id may be another picture's, too");
  });
}

test("what is no XML is found out", () => {
  assert.equal(fault(`<a b="1"><c/>d &amp; e</a>`), undefined);
  for (
    const text of [
      "<a>",
      "<a></b>",
      "<a b=1/>",
      "<a>&nbsp;</a>",
      "<a>1 < 2</a>",
      "<a/><b/>",
      `<a b="<"/>`,
      "",
    ]
  ) {
    assert.notEqual(fault(text), undefined, text);
  }
});

/** A picture without its places, and these: runtimes may round a place to another tenth, as their logarithms differ. */
interface Geometry {
  readonly tags: readonly string[];
  readonly numbers: readonly number[];
}

/** What is not as it was, if anything. */
function difference(kept: Geometry, now: Geometry): string | undefined {
  const at = kept.tags.findIndex((tag, at) => now.tags[at] !== tag);
  if (at >= 0) return `${kept.tags[at]} is ${now.tags[at]}`;
  if (now.numbers.length !== kept.numbers.length) return `${now.numbers.length} numbers`;
  const off = kept.numbers.findIndex((number, at) => !(Math.abs(now.numbers[at]! - number) < 0.15));
  return off < 0 ? undefined : `${kept.numbers[off]} is ${now.numbers[off]}`;
}

function geometry(svg: string): Geometry {
  const numbers: number[] = [];
  const shape = svg.replaceAll(/ (d|transform|[xy][12]?|c[xy])="([^"]*)"/g, (_, name, value: string) => {
    const put = (number: string) => (numbers.push(Number(number)), "#");
    return ` ${name}="${value.replaceAll(/-?\d+(?:\.\d+)?/g, put)}"`;
  });
  return { tags: shape.split("<"), numbers };
}

/** The same run, had everything come out otherwise. */
function changed({ taken, series, figures }: Report): Report {
  const digits = (text: string) => text.replaceAll(/\d/g, (digit) => `${(Number(digit) + 1) % 10}`);
  const one = ({ kind, size, times, rate, values, ...rest }: Series): Series => {
    const factor = kind === "ours" ? 3 : 7;
    const by = (value: number) => value * factor;
    return {
      ...{ ...rest, kind },
      ...(size !== undefined && { size: size * 3 }),
      ...(rate && { rate: by(rate) }),
      ...(times && { times: { ...times, p50: by(times.p50), p99: by(times.p99), p999: by(times.p999) } }),
      ...(values &&
        { values: Object.fromEntries(Object.entries(values).map(([name, one]) => [name, one + 0.5])) }),
    };
  };
  const versions = Object.entries(taken.versions).map(([name, version]) => [name, digits(version)]);
  return {
    taken: {
      date: digits(taken.date),
      machine: digits(taken.machine),
      versions: Object.fromEntries(versions),
    },
    series: series.map(one),
    figures,
  };
}

/** Those of the section, but for the names of what is measured. */
function numbersOf(report: Report): string[] {
  const names = /p50|p99|network of 1 ms|width="800"|from 0 for|to 1 for/g;
  return figuresSection(report).replaceAll(names, "").match(/\d+(?: \d{3})*(?:\.\d+)?/g) ?? [];
}

/** Why the text is not one element of well-formed XML; of such as pictures need, no more. */
function fault(text: string): string | undefined {
  const open: string[] = [];
  let roots = 0;
  const part = /<(\/?)([\w:-]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|[^<]+/g;
  let end = 0;
  for (const match of text.trim().matchAll(part)) {
    const [whole, closes, name, , empty] = match;
    if (match.index !== end) return `no tag at ${end}`;
    end += whole.length;
    if (/&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)/.test(whole)) return `a bare & in ${whole}`;
    if (name === undefined) {
      if (open.length === 0) return `text outside: ${whole}`;
    } else if (closes) {
      if (open.pop() !== name) return `</${name}> closes another`;
    } else {
      if (open.length === 0) roots++;
      if (!empty) open.push(name);
    }
  }
  if (end < text.trim().length) return `no tag at ${end}`;
  if (open.length > 0) return `<${open.at(-1)}> is not closed`;
  return roots === 1 ? undefined : `${roots} roots`;
}

function read(file: string): string {
  return readFileSync(new URL(`../${file}`, import.meta.url), "utf8");
}
