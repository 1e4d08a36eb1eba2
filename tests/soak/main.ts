/**
 * `deno task soak --minutes N --backend X`: workers on all runtimes take locks of all modes while they are
 * killed, and stopped for longer than the ttl, at random. Ends with the same checks as the other tests: no
 * more holders than may hold, tokens that rise, a ledger that was never written out of turn, nothing left
 * behind. The exit status is 1 if one of them fails.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Ledger } from "../demo/ledger.ts";
import { type Ground, stores } from "../faults/grounds.ts";
import { remains } from "../leaks/remains.ts";
import { installPackages } from "../runner/packages.ts";
import { runtimes } from "../runner/runtimes.ts";
import { install, NEEDS } from "../servers/install.ts";
import { History } from "./history.ts";
import type { Word } from "./worker.ts";

const WORKERS = 6;

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "1" }, backend: { type: "string", default: "sqlite" } },
});
const minutes = Number(values.minutes);
const found = stores.find(({ name }) => name === values.backend);
if (found === undefined || !(minutes > 0)) {
  console.error(`Usage: deno task soak --minutes N --backend ${stores.map(({ name }) => name).join("|")}`);
  process.exit(2);
}
const store = found;
installPackages();
await install(NEEDS[store.name] ?? []);

const folder = await mkdtemp(join(tmpdir(), "holdfast-soak-"));
const path = join(folder, "ledger.db");
const history = new History();
const faults: string[] = [];
let leaving = false;

/** A worker, and another one in its place when it has been killed. */
async function keepOne(ground: Ground, place: number): Promise<void> {
  for (let turn = 0; !leaving; turn++) {
    const runtime = runtimes[(place + turn) % runtimes.length]!;
    const args = runtime.name === "deno" ? ["run", "-A", "--no-check", "--quiet"] : [];
    const file = fileURLToPath(new URL("./worker.ts", import.meta.url));
    const words = [file, JSON.stringify(ground.address), `${store.ttl}`, path];
    const child = spawn(runtime.binary, [...args, ...words], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.on("error", () => {});
    const own = new Set<string>();
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const word: Word = JSON.parse(line);
        if (word.is === "held") own.add(word.id);
        history.add(word);
      }
    });
    const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
    const killed = await torment(child);
    if (killed === undefined) {
      child.stdin.end();
      const lingering = setTimeout(() => {
        faults.push(`A worker on ${runtime.name} did not end by itself`);
        child.kill("SIGKILL");
      }, 30_000);
      await closed;
      clearTimeout(lingering);
      if (child.exitCode !== 0) {
        faults.push(`A worker on ${runtime.name} ended with status ${child.exitCode}`);
      }
    } else {
      await closed;
      history.end(own, killed);
    }
  }
}

/** Until it is killed, and when that was; `undefined` if the time is up before. */
async function torment(child: ChildProcess): Promise<number | undefined> {
  for (let rounds = 1 + Math.floor(Math.random() * 3); !leaving; rounds--) {
    for (let wait = 1_000 + Math.random() * 5_000; wait > 0 && !leaving; wait -= 100) await sleep(100);
    if (leaving) return undefined;
    if (rounds <= 0) {
      process.kill(child.pid!, "SIGKILL");
      return Date.now();
    }
    process.kill(child.pid!, "SIGSTOP");
    await sleep(Math.random() * 2 * store.ttl);
    process.kill(child.pid!, "SIGCONT");
  }
  return undefined;
}

{
  await using ground = await store.shared();
  using ledger = new Ledger(path);
  const workers = Array.from({ length: WORKERS }, (_, place) => keepOne(ground, place));
  await sleep(minutes * 60_000);
  leaving = true;
  await Promise.all(workers);
  const tokens = ledger.lines().map(({ token }) => token);
  if (tokens.some((token, index) => index > 0 && token < tokens[index - 1]!)) {
    faults.push("The ledger is out of order");
  }
  faults.push(...history.faults());
  // What the killed have left is the ttl's to clean up.
  await sleep(store.ttl + store.lag);
  faults.push(...(await remains(ground.address)).map((what) => `Left behind: ${what}`));
  console.log(`${history.size} holds, ${tokens.length} lines in the ledger, ${faults.length} faults`);
}
for (const fault of faults) console.error(fault);
await rm(folder, { recursive: true, force: true });
process.exit(faults.length > 0 ? 1 : 0);
