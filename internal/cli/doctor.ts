/** The command that says what a lock in a store is worth. */
import { openingOf, withoutSecrets } from "../../backends/schemes.ts";
import type { Finding, Verdict } from "../../backends/shared/doctor.ts";
import type { Traits } from "../backend.ts";
import { showDuration } from "./durations.ts";
import type { Look, Output } from "./output.ts";
import { STATUS, UsageError } from "./status.ts";
import { type Common, placeOf } from "./store.ts";
import { columnsOf, safe } from "./text.ts";

/** What can be said beside the store. */
export interface DoctorOptions extends Common {
  /** Milliseconds. */
  readonly ttl?: number;
}

/** Milliseconds that a question to the store may take. */
const PATIENCE = 5_000;

/** Milliseconds that people use where they say nothing. */
const USUAL = 10_000;

const MARKS: Readonly<Record<Verdict, readonly [mark: string, look: Look]>> = {
  good: ["ok", "green"],
  note: ["note", "yellow"],
  unsafe: ["UNSAFE", "red"],
};

/** How long tokens rise, by the trait. */
const FENCING: Readonly<Record<Traits["fencing"], string>> = {
  consensus: "tokens rise until the cluster is restored from a backup",
  durable: "tokens rise while the file, or the cluster, lives",
  clock: "tokens rise while the server's clock does not step back",
  process: "tokens rise while the process lives",
};

/** `holdfast doctor`: one finding after the other, and what they come to. Resolves with 1 if one is unsafe. */
export async function doctor(options: DoctorOptions, output: Output): Promise<number> {
  const { from, url, prefix } = placeOf(options);
  const { traits, examine } = read(from, url);
  const ttl = options.ttl ?? Math.min(Math.max(USUAL, traits.minTtl), traits.maxTtl);
  const store = safe(withoutSecrets(url));
  const title = `${store}, for a ttl of ${showDuration(ttl)}`;
  await output.answer([...wrapped(title, output.columns).map((line) => output.paint("bold", line)), ""], {
    store,
    ttl,
    fencing: traits.fencing,
  });
  const checkup = {
    ttl,
    timeout: PATIENCE,
    signal: new AbortController().signal,
    ...(prefix !== undefined && { prefix }),
  };
  let unsafe = 0;
  let notes = 0;
  // The connections to a store keep no process alive.
  const alive = setInterval(() => {}, 1 << 30);
  try {
    for await (const finding of examine(checkup)) {
      if (finding.verdict === "unsafe") unsafe++;
      if (finding.verdict === "note") notes++;
      await output.answer(findingLines(finding, output), finding);
    }
  } finally {
    clearInterval(alive);
  }
  const worth = `Fencing is "${traits.fencing}": ${FENCING[traits.fencing]}.`;
  const sum = unsafe > 0
    ? `Locks are not safe here: see what is marked ${MARKS.unsafe[0]}.`
    : notes > 0
    ? `Locks are safe here as long as nothing fails: see what is marked ${MARKS.note[0]}.`
    : "Nothing makes locks unsafe here.";
  const says = `${sum} ${worth}`;
  await output.answer(["", ...wrapped(says, output.columns)], { safe: unsafe === 0, says });
  return unsafe === 0 ? STATUS.ok : STATUS.failed;
}

function read(from: string, url: string): ReturnType<typeof openingOf> {
  try {
    return openingOf(url);
  } catch (cause) {
    throw new UsageError(`${from}: ${(cause as Error).message}`, { cause });
  }
}

/** In columns: the mark, the topic, the sentence. */
function findingLines({ topic, verdict, says }: Finding, output: Output): string[] {
  const [mark, look] = MARKS[verdict];
  const margin = 8 + 13;
  const [first = "", ...rest] = wrapped(safe(says), Math.max(output.columns - margin, margin));
  return [
    `${output.paint(look, mark)}${" ".repeat(8 - mark.length)}${topic.padEnd(13)}${first}`,
    ...rest.map((line) => " ".repeat(margin) + line),
  ];
}

/** The text in lines of so many columns; words that are longer are cut in pieces. */
function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (columnsOf(longer) <= columns) {
      line = longer;
      continue;
    }
    if (line !== "") lines.push(line);
    line = "";
    for (const character of word) {
      if (columnsOf(line + character) > columns) {
        lines.push(line);
        line = "";
      }
      line += character;
    }
  }
  return line === "" ? lines : [...lines, line];
}
