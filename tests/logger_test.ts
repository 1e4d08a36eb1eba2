/** Loggers: the field's own, as they are, and what they are told. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import pino from "pino";
import winston from "winston";
import { memory } from "../backends/memory.ts";
import { LockManager, type Logger } from "../mod.ts";
import { ROOT } from "./runner/packages.ts";
import { script } from "./servers/script.ts";
import { over } from "./support.ts";
import { world } from "./virtual.ts";

type Line = Record<string, unknown>;

/** A stream of lines of JSON. */
function lines(): { stream: Writable; told: Line[] } {
  const told: Line[] = [];
  const stream = new Writable({
    write(chunk, _, done) {
      for (const line of String(chunk).trim().split("\n")) told.push(JSON.parse(line));
      done();
    },
  });
  return { stream, told };
}

/** Each with the names it gives to a message and to its level. */
const LOGGERS: Readonly<
  Record<string, (stream: Writable) => { logger: Logger; message: string; warn: unknown; debug: unknown }>
> = {
  "pino": (stream) => ({
    logger: pino({ level: "debug" }, stream),
    message: "msg",
    warn: 40,
    debug: 20,
  }),
  "a child of pino": (stream) => ({
    logger: pino({ level: "debug", formatters: { level: (level) => ({ level }) } }, stream).child({
      of: "app",
    }),
    message: "msg",
    warn: "warn",
    debug: "debug",
  }),
  "winston": (stream) => ({
    logger: winston.createLogger({ level: "debug", transports: [new winston.transports.Stream({ stream })] }),
    message: "message",
    warn: "warn",
    debug: "debug",
  }),
  "a child of winston": (stream) => ({
    logger: winston.createLogger({ level: "debug", transports: [new winston.transports.Stream({ stream })] })
      .child({ of: "app" }),
    message: "message",
    warn: "warn",
    debug: "debug",
  }),
};

// Goes red if: pino is called like `console`, or `console` like pino.
for (const [name, make] of Object.entries(LOGGERS)) {
  test(`${name} writes what it is told, details and all`, async () => {
    const { stream, told } = lines();
    const { logger, message, debug, warn } = make(stream);
    const { clock, store, locks } = world({ logger, retryFor: 1_000 });
    const lock = await locks.acquire("k");
    const lost = over(lock);
    const thief = await locks.acquire("k", { steal: true });
    await lost;
    store.rule = (verb) => verb === "release" ? "refuse" : "pass";
    const released = thief.release();
    await clock.pass(10);
    store.rule = () => "pass";
    await clock.pass(1_000);
    await released;
    const found = (level: unknown, text: string): Line => {
      const line = told.find((line) => line["level"] === level && line[message] === `holdfast: ${text}`);
      assert.ok(line !== undefined, `${text}: ${JSON.stringify(told)}`);
      if (/child/.test(name)) assert.equal(line["of"], "app");
      return line;
    };
    const { key, token, waited } = found(debug, "acquired");
    assert.deepEqual([key, token, waited], ["k", String(lock.token), 0]);
    assert.equal(found(debug, "released")["lasted"], 0);
    const loss = found(warn, "lost");
    assert.deepEqual([loss["key"], loss["token"], loss["reason"]], ["k", String(lock.token), "stolen"]);
    const { error } = found(warn, "a release failed, it will be repeated") as { error: Line };
    assert.deepEqual([error["name"], error["code"]], ["BackendError", "backend"]);
    assert.match(String(error["message"]), /^Cannot release lock "k"/);
  });
}

test("a pino logger that does not write debug is told nothing of grants, as it says itself", async () => {
  const { stream, told } = lines();
  await using locks = new LockManager(memory(), { logger: pino({}, stream) });
  await (await locks.acquire("k")).release();
  assert.deepEqual(told, []);
});

test("without a logger nothing is written anywhere", async () => {
  const [binary, args] = script(new URL("./logger/silent.ts", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(binary, args);
  assert.deepEqual([stdout, stderr], ["", ""]);
});

describe("the messages", () => {
  // Goes red if: a message of the sources is not in the documentation, or one of these is not in the sources.
  test("are those of the documentation", () => {
    const said = new Set<string>();
    const warns = new Set<string>();
    for (const folder of ["internal", "backends"]) {
      for (const path of readdirSync(`${ROOT}/${folder}`, { recursive: true }).map(String)) {
        if (!path.endsWith(".ts")) continue;
        const text = readFileSync(join(ROOT, folder, path), "utf8");
        if (folder === "backends" && /\bwarn\s*\(\s*[`"]/.test(text)) warns.add(path.split(/[/.]/)[0]!);
        for (const message of messagesOf(text)) said.add(message);
      }
    }
    const source = readFileSync(`${ROOT}/internal/options.ts`, "utf8");
    const rows = [...source.matchAll(/^ \* \| (debug|warn) \| (.+?) \| .+ \|$/gm)];
    const documented = rows.map(([, level, message]) => `${level}: ${message}`);
    const backends = [...warns].map((name) => name[0]!.toUpperCase() + name.slice(1));
    assert.deepEqual([...said, `warn: (of the backend: ${backends.join(", ")})`].sort(), documented.sort());
  });
});

/** What a module tells a logger, with the level: texts, or names of constants with texts. */
function messagesOf(text: string): string[] {
  const calls = text.matchAll(/\blog\??\.?\(\s*"(debug|warn)",\s*("[^"]+"|\w+)/g);
  return [...calls].flatMap(([, level, what]) => {
    if (what!.startsWith('"')) return [`${level}: ${JSON.parse(what!)}`];
    const [, value] = new RegExp(`const ${what} = ([^;]+);`).exec(text) ?? [];
    // A parameter that is passed on is told of where it comes from.
    return [...(value ?? "").matchAll(/"([^"]+)"/g)].map(([, each]) => `${level}: ${each}`);
  });
}
