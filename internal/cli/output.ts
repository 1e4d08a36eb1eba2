/** Where the command line writes: answers to the output, everything else to the error output. */
import process from "node:process";
import { styleText } from "node:util";
import { plain } from "../plain.ts";
import { OutputError } from "./status.ts";
import { cut, safe } from "./text.ts";

/** How a word looks on a terminal. */
export type Look = Parameters<typeof styleText>[0];

/** Narrower is no terminal that can be read. */
const NARROWEST = 20;

/** Writes as the user wants it: for people, or as lines of JSON. */
export class Output {
  readonly #json: boolean;
  /** A line that the next one writes over. */
  #live = false;

  constructor(json: boolean) {
    this.#json = json;
  }

  /** Whether the error output is a terminal, on which a line can be kept up to date. */
  get live(): boolean {
    return process.stderr.isTTY === true && process.env.TERM !== "dumb" && !this.#json;
  }

  /** How wide a line of the output may be: that of the terminal, else 80. */
  get columns(): number {
    const { isTTY, columns } = process.stdout;
    return isTTY && columns > 0 ? Math.max(columns, NARROWEST) : 80;
  }

  /**
   * Writes an answer: the lines, or the value as a line of JSON. Resolves with whether anybody reads it: who says
   * something to nobody any more is not at fault.
   *
   * @throws {OutputError} If it cannot be written.
   */
  async answer(lines: readonly string[], value: unknown): Promise<boolean> {
    const said = this.#json ? [JSON.stringify(plain(value) ?? null)] : lines;
    const fault = await write(process.stdout, said.map((line) => `${line}\n`).join(""));
    if (fault === undefined) return true;
    if (process.stdout.isTTY || fault.code === "EPIPE" || fault.code === "ECONNRESET") return false;
    throw new OutputError(`Cannot write to the output: ${fault.message}`, { cause: fault });
  }

  /** Tells what happens beside the answer: a sentence, or fields as a line of JSON. */
  async tell(text: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    this.clear();
    const line = this.#json ? JSON.stringify(plain(fields)) : safe(`holdfast: ${text}`);
    await write(process.stderr, `${line}\n`);
  }

  /** Shows a line that is kept up to date, cut to the width of the terminal. */
  show(line: string): void {
    const columns = process.stderr.columns > 1 ? process.stderr.columns : 80;
    void write(process.stderr, `\r${this.dim(cut(line, columns - 1))}\x1b[K`);
    this.#live = true;
  }

  /** Takes that line away. */
  clear(): void {
    if (this.#live) void write(process.stderr, "\r\x1b[K");
    this.#live = false;
  }

  /** A word of an answer, coloured where colours are wanted. */
  paint(look: Look, text: string): string {
    return styled(process.stdout, look, text);
  }

  /** A word beside the answer. */
  dim(text: string): string {
    return styled(process.stderr, "dim", text);
  }
}

function styled(stream: NodeJS.WriteStream, look: Look, text: string): string {
  return coloured(stream) ? styleText(look, text, { validateStream: false }) : text;
}

/** By https://no-color.org and https://force-color.org; otherwise on a terminal that knows colours. */
function coloured(stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR) return false;
  if (FORCE_COLOR) return FORCE_COLOR !== "0" && FORCE_COLOR !== "false";
  return stream.isTTY === true && TERM !== "dumb";
}

/** Resolves with why it cannot be written, if so. */
function write(stream: NodeJS.WriteStream, text: string): Promise<NodeJS.ErrnoException | undefined> {
  if (stream.listenerCount("error") === 0) stream.on("error", () => {});
  return new Promise((resolve) => {
    try {
      stream.write(text, (error) => resolve(error ?? undefined));
    } catch (error) {
      resolve(error as NodeJS.ErrnoException); // Deno throws where others call back.
    }
  });
}
