/** What `holdfast doctor` finds in ZooKeeper that is really set up so. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as op from "../../backends/zookeeper/client/operations.ts";
import { assertFound, examined, PASSWORD, unsafeTopics } from "../doctor.ts";
import { Proxy } from "../servers/proxy.ts";
import { ZooKeeperEnsemble, ZooKeeperServer } from "../servers/zookeeper.ts";
import { Operator } from "./operator.ts";

const SLOW = { timeout: 120_000 };

test("three servers are safe, with one of them away too", SLOW, async () => {
  await using ensemble = await ZooKeeperEnsemble.start();
  const url = `zookeeper://${ensemble.address}?tickTime=500`;
  const findings = await examined(url);
  assert.deepEqual(unsafeTopics(findings), []);
  for (const topic of ["version", "tickTime", "failover", "ttl", "lock"]) {
    assertFound(findings, topic, "good");
  }
  const [away] = await ensemble.followers();
  await away!.kill();
  const fewer = await examined(url);
  assert.deepEqual(unsafeTopics(fewer), []);
  assertFound(fewer, "servers", "note", new RegExp(`${away!.port}.*ECONNREFUSED`));
});

test("a single server: its sessions, its tickTime, a folder that is not there", SLOW, async () => {
  await using server = await ZooKeeperServer.start({
    config: ["maxSessionTimeout=8000"],
    java: ["-Dznode.container.checkIntervalMs=600000"], // what is left empty stays until it is looked for
  });
  const url = `zookeeper://${server.address}`;
  const findings = await examined(`${url}?tickTime=500`);
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "failover", "note", /one server/);
  assertFound(findings, "ttl", "note", /10 s becomes 8 s: this ensemble grants 1 s to 8 s/);
  assertFound(await examined(`${url}?tickTime=500`, { ttl: 6_000 }), "ttl", "good");
  assertFound(
    await examined(`${url}?tickTime=500`, { ttl: 4_000 }),
    "ttl",
    "note",
    /less than 10 ticks \(5 s\)/,
  );
  assertFound(await examined(`${url}?tickTime=100`), "tickTime", "unsafe", /500 ms.*Say \?tickTime=500/);
  assertFound(await examined(`${url}/a/b?tickTime=500`), "chroot", "note", /no folder \/a\/b yet/);
  assertFound(await examined(`${url}/a/b?tickTime=500`), "chroot", "good"); // a container that the lock has left
  await using operator = await Operator.connect(server.address);
  const readOnly = [{ perms: 1, scheme: "world", id: "anyone" }];
  await operator.ask(op.create("/closed", "", readOnly, 0));
  const closed = await examined(`zookeeper://app:${PASSWORD}@${server.address}/closed?tickTime=500`);
  assertFound(closed, "lock", "unsafe", /no permission/);
});

test("what a server does not answer is not guessed", SLOW, async () => {
  await using server = await ZooKeeperServer.start({ config: ["4lw.commands.whitelist=srvr"] });
  const findings = await examined(`zookeeper://${server.address}`);
  assertFound(findings, "tickTime", "note", /^Cannot be seen: .*whitelist/);
  assertFound(findings, "version", "good");
  assert.deepEqual(unsafeTopics(findings), []);
});

test("an ensemble that is away, or says nothing, is an error", SLOW, async () => {
  await assert.rejects(examined("zookeeper://127.0.0.1:1"), { name: "BackendError" });
  await using server = await ZooKeeperServer.start();
  await using proxy = await Proxy.start(server);
  proxy.cut();
  await assert.rejects(examined(`zookeeper://127.0.0.1:${proxy.port}`, { timeout: 500 }), {
    name: "BackendError",
  });
});
