import { Buffer } from "node:buffer";
import { connect } from "node:net";
import type { Server } from "./servers.ts";

/** Bytes: what these words are answered with is far shorter. */
const LARGEST = 1 << 20;

/**
 * What a server answers to one of its four-letter words, as names and values; `undefined` if it does not answer this
 * one: each has to be in its `4lw.commands.whitelist`, and by itself only `srvr` is.
 *
 * @throws {Error} If the server cannot be reached, or says nothing for so many milliseconds.
 */
export function fourLetters(
  word: "srvr" | "conf",
  { host, port }: Server,
  patience: number,
): Promise<Readonly<Record<string, string>> | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const parts: Buffer[] = [];
    let size = 0;
    socket.setTimeout(patience, () => socket.destroy(new Error(`it said nothing for ${patience} ms`)));
    socket.once("connect", () => socket.write(word));
    socket.on("data", (part: Buffer) => {
      parts.push(part);
      if ((size += part.length) > LARGEST) socket.destroy(new Error(`the answer to ${word} does not end`));
    });
    socket.once("error", reject);
    socket.once("close", () => resolve(pairsOf(Buffer.concat(parts).toString())));
  });
}

/** A name and a value a line: `Mode: leader`, `tickTime=2000`. */
function pairsOf(said: string): Readonly<Record<string, string>> | undefined {
  const lines = [...said.matchAll(/^([^:=\n]+)(?::\s*|=)(.*)$/gm)];
  return lines.length === 0 ? undefined : Object.fromEntries(lines.map(([, name, value]) => [name, value]));
}
