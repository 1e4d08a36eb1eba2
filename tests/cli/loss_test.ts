/** `holdfast run` when its lock is lost, or itself: nothing of the command goes on without the lock. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RedisServer } from "../servers/redis.ts";
import { freePort } from "../servers/process.ts";
import { chosenStores } from "../runner/files.ts";
import { gone, Scene, type Started, stopped } from "./holdfast.ts";

/** Says its pid, and does not end by SIGTERM, nor does what it has started and left behind. */
const STUBBORN =
  "trap 'echo asked' TERM; (trap '' TERM; sh -c 'echo $$; exec sleep 100' &); echo $$; while :; do sleep 0.05; done";

/** The numbers that the command has said. */
async function pidsOf(holdfast: Started): Promise<number[]> {
  const [, one, two] = await holdfast.says(/^(\d+)\n(\d+)\n/);
  return [Number(one), Number(two)];
}

test("a lock that is stolen ends the command by SIGTERM, and the status is 76", async () => {
  await using scene = new Scene();
  const holdfast = scene.start([
    "run",
    "k",
    "--",
    "sh",
    "-c",
    "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
  ]);
  await holdfast.says(/ready/);
  const thief = await scene.locks.acquire("k", { steal: true });
  const { status, out, err } = await holdfast.ended;
  assert.deepEqual([status, out], [76, "ready\nasked\n"]);
  assert.match(err, /^holdfast: Lock "k" was lost: another client took it by force; ending the command\n/);
  await thief.release();
});

test("of several keys the loss of one is that of all", async () => {
  await using scene = new Scene();
  const holdfast = scene.start(["run", "b", "a", "b", "--", "sh", "-c", "echo ready; exec sleep 100"]);
  await holdfast.says(/ready/);
  await using _ = await scene.locks.acquire("a", { steal: true });
  const { status, err } = await holdfast.ended;
  assert.equal(status, 76);
  assert.match(err, /^holdfast: A lock on "b", "a" was lost: another client took it by force; ending/m);
});

test("what ignores SIGTERM gets SIGKILL after the grace, also what the command has left behind", async () => {
  await using scene = new Scene();
  const holdfast = scene.start(["run", "--grace", "3s", "k", "--", "sh", "-c", STUBBORN]);
  const pids = await pidsOf(holdfast);
  await using _ = await scene.locks.acquire("k", { steal: true });
  const { status, out } = await holdfast.ended;
  assert.equal(status, 76);
  assert.match(out, /asked/);
  await Promise.all(pids.map(gone));
});

test("every process of the group is asked, not the first one alone", async () => {
  await using scene = new Scene();
  const child =
    "sh -c 'trap \"echo child asked; exit 0\" TERM; echo child ready; while :; do sleep 0.05; done'";
  const holdfast = scene.start(["run", "--grace", "1h", "k", "--", "sh", "-c", `${child} & wait`]);
  await holdfast.says(/child ready/);
  await using _ = await scene.locks.acquire("k", { steal: true });
  await holdfast.says(/child asked/);
  assert.equal((await holdfast.ended).status, 76);
});

test("a command that is stopped is ended too: it is continued, so that it can end as it wants", async () => {
  await using scene = new Scene();
  const words = [
    "sh",
    "-c",
    "trap 'echo asked; exit 0' TERM; echo $$; kill -STOP $$; while :; do sleep 0.05; done",
  ];
  const holdfast = scene.start(["run", "--grace", "1h", "k", "--", ...words]);
  await stopped(Number((await holdfast.says(/^(\d+)\n/))[1]));
  await using _ = await scene.locks.acquire("k", { steal: true });
  const { status, out } = await holdfast.ended;
  assert.equal(status, 76);
  assert.match(out, /asked/);
});

test("a lock that was lost before the command has ended, unnoticed, is 76", async () => {
  await using scene = new Scene();
  const holdfast = scene.start(["run", "--ttl", "1h", "k", "--", "sh", "-c", "echo ready; read a"]);
  await holdfast.says(/ready/);
  // So far as holdfast can tell, all is well: it learns of a theft at once, but not while it is stopped.
  holdfast.kill("SIGSTOP");
  await using _ = await scene.locks.acquire("k", { steal: true });
  holdfast.type("\n");
  holdfast.kill("SIGCONT");
  assert.equal((await holdfast.ended).status, 76);
});

test("a killed holdfast takes the command with it", async () => {
  await using scene = new Scene();
  const holdfast = scene.start(["run", "--ttl", "1h", "--grace", "3s", "k", "--", "sh", "-c", STUBBORN]);
  const pids = await pidsOf(holdfast);
  holdfast.kill("SIGKILL");
  await holdfast.says(/asked/);
  await Promise.all(pids.map(gone));
});

test("nobody else has the lock of a killed holdfast while its command still ends", async () => {
  await using scene = new Scene();
  const holdfast = scene.start(["run", "--ttl", "1h", "--grace", "4s", "k", "--", "sh", "-c", STUBBORN]);
  const pids = await pidsOf(holdfast);
  holdfast.kill("SIGKILL");
  await holdfast.says(/asked/);
  assert.equal(await scene.locks.tryAcquire("k"), undefined);
  await Promise.all(pids.map(gone));
  assert.equal(await scene.locks.tryAcquire("k"), undefined);
});

test("a holdfast that is stopped, and cannot renew, does not keep the command running past the ttl", async () => {
  await using scene = new Scene();
  const holdfast = scene.start(["run", "--ttl", "5s", "--grace", "300ms", "k", "--", "sh", "-c", STUBBORN]);
  const pids = await pidsOf(holdfast);
  holdfast.kill("SIGSTOP");
  await Promise.all(pids.map(gone));
  holdfast.kill("SIGCONT");
  assert.equal((await holdfast.ended).status, 76);
});

test("a command under a lock that is renewed outlives the ttl", async () => {
  await using scene = new Scene();
  const holdfast = scene.start(["run", "--ttl", "6s", "k", "--", "sh", "-c", "sleep 9; echo done"]);
  const { status, out } = await holdfast.ended;
  assert.deepEqual([status, out], [0, "done\n"]);
});

const redis = chosenStores().includes("redis") ? {} : { skip: "redis is not among BACKENDS" };

test(
  "a store that falls silent ends the command at the lock's own deadline, while it still is silent",
  redis,
  async () => {
    await using server = await RedisServer.start({ port: await freePort() });
    await using scene = new Scene();
    const env = { HOLDFAST_STORE: server.url };
    const holdfast = scene.start(
      ["run", "--ttl", "5s", "--grace", "300ms", "k", "--", "sh", "-c", STUBBORN],
      env,
    );
    const pids = await pidsOf(holdfast);
    server.pause();
    await Promise.all(pids.map(gone));
    const { status, err } = await holdfast.ended;
    assert.equal(status, 76);
    assert.match(err, /Lock "k" was lost: it was not renewed before its ttl ran out; ending the command/);
    server.resume();
  },
);
