/**
 * Several processes contend for one lock on the embedded default, and write to a ledger under it. One
 * holder is killed, one is stopped for longer than its ttl and continued. Then the command line runs a command under
 * a lock of the same file. At the end the ledger shows whether anything went wrong; the exit status is 1 if it did.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { commands } from "./commands.ts";
import { Ledger, type Line } from "./ledger.ts";
import { type Report, TTL } from "./report.ts";
import { Screen } from "./screen.ts";

const NAMES = ["ada", "barbara", "edsger", "grace", "leslie"];
const GREEN = 32, YELLOW = 33, RED = 31, CYAN = 36;

const folder = mkdtempSync(join(tmpdir(), "holdfast-demo-"));
const path = join(folder, "ledger.db");
const env = { ...process.env, HOLDFAST_DB: join(folder, "locks.db") };
using ledger = new Ledger(path);

console.log(
  `\n  Five processes, one lock with a ttl of ${TTL} ms, one ledger. Nobody coordinates them but the lock.\n`,
);
const screen = new Screen(NAMES);
const children = new Map(NAMES.map((name) => [name, start(name)]));
const seen = {
  wrote: new Map<string, number>(),
  refused: 0,
  lost: 0,
  kills: [] as number[],
  stops: [] as number[],
};
/** Names of those who hold, as they say themselves; a fault is more than one of them at work. */
const holding = new Map<string, bigint>();
const faults: string[] = [];
let waitFor: ((name: string, report: Report) => void) | undefined;
let killed: string | undefined;
let killedAt: number | undefined;
let stoppedAt: number | undefined;

function start(name: string) {
  const worker = fileURLToPath(new URL("./worker.ts", import.meta.url));
  const args = "Deno" in globalThis ? ["run", "-A", "--quiet", worker] : [worker];
  const child = spawn(process.execPath, [...args, name, path], {
    stdio: ["pipe", "pipe", "inherit"],
    env,
  });
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) hear(name, JSON.parse(line));
  });
  child.stdin.on("error", () => {});
  const gone = new Promise<void>((resolve) => child.on("close", () => resolve()));
  child.on("exit", (code, signal) => {
    if (code !== 0 && signal !== "SIGKILL") faults.push(`${name} ended with ${signal ?? `status ${code}`}`);
  });
  return { child, gone };
}

function hear(name: string, report: Report): void {
  waitFor?.(name, report);
  switch (report.event) {
    case "waiting":
      screen.set(name, "waiting");
      break;
    case "acquired": {
      holding.set(name, BigInt(report.token));
      screen.set(name, "holding", report.token);
      const after = handedOn(report.at);
      screen.say(name, `holds, token ${report.token}, after ${report.waited.toFixed(0)} ms${after}`, GREEN);
      break;
    }
    case "wrote":
      seen.wrote.set(name, (seen.wrote.get(name) ?? 0) + 1);
      break;
    case "released":
      holding.delete(name);
      screen.set(name, "idle");
      break;
    case "refused":
      seen.refused++;
      screen.say(
        name,
        `writes with token ${report.token}: REFUSED by the ledger, which has seen ${report.by}`,
        RED,
      );
      break;
    case "lost":
      seen.lost++;
      holding.delete(name);
      screen.set(name, "idle");
      screen.say(name, `learns from its signal that the lock is lost: ${report.why}`, YELLOW);
  }
}

/** How long after a holder's end the next one held. */
function handedOn(at: number): string {
  let text = "";
  if (killedAt !== undefined) {
    seen.kills.push(at - killedAt);
    text = `: ${at - killedAt} ms after the kill`;
  } else if (stoppedAt !== undefined) {
    seen.stops.push(at - stoppedAt);
    text = `: ${at - stoppedAt} ms after the stop, when the ttl had run out`;
  }
  killedAt = stoppedAt = undefined;
  return text;
}

/** Waits for a report that `wanted` accepts, and who made it. */
function next(wanted: (name: string, report: Report) => boolean): Promise<string> {
  return new Promise((resolve) => {
    waitFor = (name, report) => {
      if (!wanted(name, report)) return;
      waitFor = undefined;
      resolve(name);
    };
  });
}

/** By the process id: a child that has had a signal is not always sent another. */
function send(name: string, signal: NodeJS.Signals): void {
  const { child } = children.get(name)!;
  if (child.exitCode === null && child.signalCode === null) process.kill(child.pid!, signal);
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function kill(): Promise<void> {
  const name = await next((_, { event }) => event === "wrote");
  killed = name;
  killedAt = Date.now();
  send(name, "SIGKILL");
  holding.delete(name);
  screen.set(name, "dead");
  screen.say(name, "is KILLED while it holds the lock", RED);
}

async function stop(): Promise<void> {
  const name = await next((_, { event }) => event === "acquired");
  const { child } = children.get(name)!;
  child.stdin.write("slow\n");
  await next((who, { event }) => who === name && event === "writing");
  send(name, "SIGSTOP");
  stoppedAt = Date.now();
  screen.set(name, "stopped");
  screen.say(name, "is STOPPED between its last check and its write", YELLOW);
  await next((_, { event }) => event === "acquired");
  await pause(1_200);
  screen.set(name, "holding", "stale");
  screen.say(name, "is CONTINUED and goes on with the write it was about to make", YELLOW);
  send(name, "SIGCONT");
  await next((who, { event }) => who === name && event === "lost");
}

/** Each line was reported; only the killed process may have died between its last write and its report. */
function accounted(name: string, lines: readonly Line[]): boolean {
  const unreported = lines.filter(({ writer }) => writer === name).length - (seen.wrote.get(name) ?? 0);
  return unreported === 0 || (unreported === 1 && name === killed);
}

/** What must be true at the end. */
function verdict(more: readonly [boolean, string][] = []): boolean {
  const lines = ledger.lines();
  const tokens = lines.map(({ token }) => token);
  const writers = new Map<bigint, Set<string>>();
  for (const { token, writer } of lines) writers.set(token, (writers.get(token) ?? new Set()).add(writer));
  const checks: [boolean, string][] = [
    [
      NAMES.every((name) => accounted(name, lines)),
      `${lines.length} lines in the ledger, every one accounted for`,
    ],
    [
      tokens.every((token, at) => at === 0 || token >= tokens[at - 1]!),
      "tokens never fall from one line to the next",
    ],
    [
      [...writers.values()].every(({ size }) => size === 1),
      `each of ${writers.size} tokens belongs to one process`,
    ],
    [
      seen.kills.length === 1 && seen.kills[0]! < TTL,
      `the killed holder's lock went on after ${seen.kills[0]} ms`,
    ],
    [
      seen.stops.length === 1 && seen.stops[0]! < 2 * TTL,
      `the stopped holder's lock went on after ${seen.stops[0]} ms, once its ttl was over`,
    ],
    [seen.refused === 1, "its late write was refused by the ledger"],
    [seen.lost === 1, "and its signal told it that the lock was lost"],
    ...more,
    ...faults.map((fault): [boolean, string] => [false, fault]),
  ];
  console.log();
  for (const [good, text] of checks) {
    console.log(`  ${screen.paint(good ? GREEN : RED, good ? "✓" : "✗")} ${text}`);
  }
  console.log();
  return checks.every(([good]) => good);
}

const patience = setTimeout(() => {
  faults.push("the demo took longer than 20 s");
  screen.end();
  verdict();
  for (const name of NAMES) send(name, "SIGKILL");
  process.exit(1);
}, 20_000);

await pause(2_500);
await kill();
await pause(2_500);
await stop();
await pause(1_500);
screen.say("", "all are asked to leave", CYAN);
for (const { child } of children.values()) child.stdin.end();
await Promise.all([...children.values()].map(({ gone }) => gone));
screen.end();
const good = verdict(process.platform === "win32" ? [] : await commands(env));
clearTimeout(patience);
ledger[Symbol.dispose]();
rmSync(folder, { recursive: true, force: true });
process.exit(good ? 0 : 1);
