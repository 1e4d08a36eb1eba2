/** Server processes: readiness, faults, and that none is ever left behind. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { alive } from "./children.ts";
import { freePort, ServerProcess, until } from "./process.ts";
import { dataFolder } from "./reaper.ts";
import { script } from "./script.ts";

function shell(text: string, ready: () => Promise<boolean> = () => Promise.resolve(true), patience = 5_000) {
  const folder = dataFolder("shell");
  return { name: "shell", binary: "/bin/sh", args: ["-c", text], folder, ready, patience };
}

test("a server that ends while starting is an error that shows what it said", async () => {
  const never = () => Promise.resolve(false);
  await assert.rejects(
    ServerProcess.start(shell("echo the port is taken; exit 3", never)),
    /shell ended while it was starting:\nthe port is taken/,
  );
});

test("a server that is never ready is an error too, and is not left running", async () => {
  const server = ServerProcess.launch(
    shell("echo working on it; exec sleep 600", () => Promise.resolve(false), 200),
  );
  await says(server, "working on it");
  await assert.rejects(server.ready(), /shell is not ready after 200 ms:\nworking on it/);
  assert.equal(server.running, false);
});

test("a program that cannot be started is an error", async () => {
  const program = { ...shell(""), binary: "/nonexistent/server", ready: () => Promise.resolve(false) };
  await assert.rejects(ServerProcess.start(program), /Cannot start shell \(\/nonexistent\/server\)/);
});

test("a server can be paused, resumed, killed and started again with its data", async () => {
  await using server = ServerProcess.launch(shell("echo started; exec sleep 600"));
  await says(server, "started");
  const first = server.pid;
  server.pause();
  assert.ok(server.running);
  await server.restart(); // continues it first: a stopped process does not act on SIGTERM
  assert.notEqual(server.pid, first);
  await says(server, "started\nstarted");
  await server.kill();
  assert.equal(server.running, false);
  assert.equal(server.pid, undefined);
});

test("disposing of a server ends it and removes its data", async () => {
  const program = shell("exec sleep 600");
  const server = await ServerProcess.start(program);
  const pid = server.pid!;
  await server[Symbol.asyncDispose]();
  assert.equal(alive(pid), false);
  assert.equal(existsSync(program.folder), false);
});

test("no server outlives a test process, not even one that is killed", { timeout: 60_000 }, async () => {
  const [binary, args] = script(new URL("./parent.ts", import.meta.url));
  const parent = spawn(binary, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(parent.stdout, "data");
  const { pids, folder } = JSON.parse(String(line));
  assert.ok(pids.length === 2 && pids.every(alive) && existsSync(folder));
  parent.kill("SIGKILL");
  await until(
    () => Promise.resolve(!pids.some(alive) && !existsSync(folder)),
    () => "the server is still there",
  );
});

test("a free port is given to one server only", async () => {
  const ports = await Promise.all(Array.from({ length: 20 }, () => freePort()));
  assert.equal(new Set(ports).size, ports.length);
});

function says(server: ServerProcess, text: string): Promise<void> {
  return until(() => Promise.resolve(server.log() === text), () => server.log());
}
