/**
 * `deno run -A bench/publish.ts`: writes what `report.json` says into the READMEs and the pictures. It has to be of a
 * run of all stores, with the other packages, on Linux.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { Report } from "./harness/report.ts";
import { pictures } from "./pictures/pictures.ts";
import { figuresSection, tables, withSection } from "./tables.ts";

const report: Report = JSON.parse(readFileSync(file("report.json"), "utf8"));
for (const [name, svg] of Object.entries(pictures(report))) writeFileSync(file(`pictures/${name}`), svg);
fill("../README.md", figuresSection(report));
fill("README.md", tables(report));

function fill(name: string, section: string): void {
  writeFileSync(file(name), withSection(readFileSync(file(name), "utf8"), section));
}

function file(name: string): URL {
  return new URL(name, import.meta.url);
}
