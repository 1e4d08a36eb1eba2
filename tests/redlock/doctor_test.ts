/** What `holdfast doctor` finds in nodes that are really set up so. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertFound, examined, PASSWORD, unsafeTopics } from "../doctor.ts";
import { ServerClock } from "../servers/clock.ts";
import { RedisServer } from "../servers/redis.ts";
import { admit, Nodes } from "./nodes.ts";

const url = (places: readonly string[]) => `redlock://${places.join()}`;

test("three nodes that know nothing of each other are safe", async () => {
  await using nodes = await Nodes.start(3);
  const findings = await examined(url(nodes.places));
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "nodes", "good", /Nodes: 3, of which 1 may be away/);
  assertFound(findings, "nodes", "note", /on one machine/);
  assertFound(findings, "lock", "good");
});

test("new nodes: how long they stay out", async () => {
  await using nodes = await Nodes.start(3, false);
  const findings = await examined(url(nodes.places));
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "restart", "note", /stays out for 30 s/);
  assertFound(findings, "lock", "note", /excluded/);
});

test("a number of nodes that is of no use, and one server named twice", async () => {
  await using nodes = await Nodes.start(4);
  const [first, second] = nodes.places;
  assertFound(
    await examined(url(nodes.places)),
    "nodes",
    "note",
    /Nodes: 4, of which 1 may be away, as of 3/,
  );
  assertFound(await examined(url([first!, second!])), "nodes", "note", /use three or five/);
  const twice = await examined(url([first!, second!, first!.replace("127.0.0.1", "localhost")]));
  assert.deepEqual(unsafeTopics(twice), ["nodes"]);
  assertFound(twice, "nodes", "unsafe", new RegExp(`${first}, localhost:\\d+ are one and the same server`));
});

test(
  "a node that evicts, that is a replica of another, or whose clock is off",
  { timeout: 60_000 },
  async () => {
    const clock = await ServerClock.create();
    clock.step(10_000);
    await using nodes = await Nodes.start(2);
    const [first, second] = nodes.servers;
    await using ahead = await RedisServer.start({ env: clock.env });
    await admit(ahead);
    await first!.cli("config", "set", "maxmemory", "100mb");
    await first!.cli("config", "set", "maxmemory-policy", "allkeys-lfu");
    const places = [...nodes.places, `${ahead.host}:${ahead.port}`];
    const findings = await examined(url(places));
    assert.deepEqual(unsafeTopics(findings), ["memory", "clocks"]);
    assertFound(findings, "memory", "unsafe", new RegExp(`^${first!.host}:${first!.port}: It evicts`));
    assertFound(findings, "clocks", "unsafe", /([89]\.\d|1[012]) s apart/);
    await second!.cli("replicaof", first!.host, `${first!.port}`);
    await first!.replicated();
    const replica = await examined(url(places));
    assertFound(
      replica,
      "role",
      "unsafe",
      new RegExp(`^${second!.host}:${second!.port}: This is a replica of`),
    );
    assertFound(replica, "nodes", "note", new RegExp(`^${first!.host}:${first!.port} has replicas`));
  },
);

test("a node that is away is a note, and all of them are an error", async () => {
  await using nodes = await Nodes.start(2);
  const findings = await examined(`redlock://app:${PASSWORD}@127.0.0.1:1`).catch((error) => error);
  assert.equal(findings.name, "BackendError");
  const one = await examined(url([...nodes.places, "127.0.0.1:1"]));
  assert.deepEqual(unsafeTopics(one), []);
  assertFound(one, "nodes", "note", /Cannot connect to Redis at 127\.0\.0\.1:1/);
  assertFound(one, "lock", "good");
});
