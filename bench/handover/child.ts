/**
 * One of two processes between which something is handed over. Does what it is told on standard input and
 * says when, by the machine's monotonic clock: run by Node, whose `process.hrtime` all processes share.
 *
 * `node child.ts MODULE ADDRESS`: the module exports `subject(address)`, see `subject.ts`.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import type { Subject } from "./subject.ts";

const [module, address] = process.argv.slice(2) as [string, string];
const { subject } = await import(module) as { subject(address: unknown): Promise<Subject> };
const { wait, pass, close } = await subject(JSON.parse(address));

function say(word: string): void {
  process.stdout.write(`${word} ${process.hrtime.bigint()}\n`);
}

const orders: Record<string, () => Promise<void>> = {
  async wait() {
    await wait(() => say("waiting"));
    say("got");
  },
  async pass() {
    say("passing");
    await pass();
    say("passed");
  },
};

say("ready");
for await (const order of createInterface(process.stdin)) {
  orders[order]!().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}
await close();
process.exit(0);
