/** How each runtime is told to run test files and to write a JUnit report. */
import process from "node:process";
import { BIN } from "./packages.ts";

/** Milliseconds a test may take that names no limit of its own; Bun's own default is 5000. */
const TIMEOUT = 120_000;

/** A runtime that all tests run on. */
export interface Runtime {
  readonly name: string;
  readonly binary: string;
  /** Arguments: run the file, report to the screen and to a JUnit file. */
  args(file: string, report: string): string[];
}

/** Every runtime of the matrix. */
export const runtimes: readonly Runtime[] = [
  {
    name: "deno",
    binary: "Deno" in globalThis ? process.execPath : "deno",
    // Types are checked once, by `deno task ok`.
    args: (file, report) => ["test", "-A", "--no-check", "--junit-path=" + report, file],
  },
  {
    name: "bun",
    binary: `${BIN}/bun`,
    args: (file, report) => [
      ...["test", "--timeout", `${TIMEOUT}`, "--reporter=junit", "--reporter-outfile=" + report],
      `./${file}`, // without the dot Bun takes it for a pattern
    ],
  },
  {
    name: "node",
    binary: `${BIN}/node`,
    args: (file, report) => [
      ...["--test", "--disable-warning=ExperimentalWarning"],
      ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
      ...["--test-reporter=junit", "--test-reporter-destination=" + report],
      file,
    ],
  },
];
