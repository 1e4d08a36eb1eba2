/** What `holdfast doctor` finds in Consul that is really set up so. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertFound, examined, PASSWORD, unsafeTopics } from "../doctor.ts";
import { ConsulCluster, ConsulServer } from "../servers/consul.ts";
import { until } from "../servers/process.ts";
import { Proxy } from "../servers/proxy.ts";

const SLOW = { timeout: 120_000 };

const at = ({ host, port }: { readonly host: string; readonly port: number }) => `consul://${host}:${port}`;

test("three servers are safe until most of them are away", SLOW, async () => {
  await using cluster = await ConsulCluster.start();
  const [first, second, third] = cluster.servers;
  const findings = await examined(at(first!));
  assert.deepEqual(unsafeTopics(findings), []);
  assertFound(findings, "failover", "good", /Servers: 3.* 1 may be away/);
  assertFound(findings, "agent", "good", /It is a server/);
  assertFound(findings, "expiry", "note", /for up to 20 s/);
  assertFound(findings, "lock", "good");
  const kept = await fetch(`http://${first!.host}:${first!.port}/v1/kv/?keys`);
  assert.match(await kept.text(), /^(\[\])?$/);
  await second!.kill();
  await third!.kill();
  let without = findings;
  await until(
    async () => {
      without = await examined(at(first!));
      return unsafeTopics(without).length > 0;
    },
    () => "locks without a majority",
    60_000,
  );
  assertFound(without, "lock", "unsafe");
});

test("one server, and a ttl that is too short for it", SLOW, async () => {
  await using server = await ConsulServer.start({ config: { session_ttl_min: "90s" } });
  const findings = await examined(at(server));
  assert.deepEqual(unsafeTopics(findings), ["ttl", "lock"]);
  assertFound(findings, "ttl", "unsafe", /10 s is refused: session_ttl_min is 90 s/);
  assertFound(findings, "failover", "note", /Servers: 1.*use three or five/);
  assert.deepEqual(unsafeTopics(await examined(at(server), { ttl: 90_000 })), []);
  assertFound(await examined(at(server), { ttl: 5_000 }), "ttl", "unsafe", /from 10 s to 24 h/);
});

test("a token without rights: what is refused, and what cannot be seen", SLOW, async () => {
  await using server = await ConsulServer.start({ acl: true });
  for (const token of ["", `?token=${PASSWORD}`]) {
    const findings = await examined(at(server) + token);
    assert.deepEqual(unsafeTopics(findings), ["lock"]);
    assertFound(findings, "lock", "unsafe", /needs "write" on the key prefix/);
    assertFound(findings, "agent", "note", /^Cannot be seen/);
    assertFound(findings, "health", "note", /^Cannot be seen/);
  }
  const all = await examined(`${at(server)}?token=${server.token}`);
  assert.deepEqual(unsafeTopics(all), []);
  assertFound(all, "version", "good", /Consul \d/);
});

test("an agent that is away, or says nothing, is an error", SLOW, async () => {
  await assert.rejects(examined("consul://127.0.0.1:1"), { name: "BackendError" });
  await using server = await ConsulServer.start();
  await using proxy = await Proxy.start(server);
  proxy.cut();
  await assert.rejects(examined(at(proxy), { timeout: 500 }), { name: "BackendError" });
});
