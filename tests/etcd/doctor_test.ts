/** What `holdfast doctor` finds in etcd that is really set up so. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isBefore } from "../../backends/shared/doctor.ts";
import { assertFound, examined, PASSWORD, unsafeTopics } from "../doctor.ts";
import { EtcdCluster, EtcdServer } from "../servers/etcd.ts";
import { Proxy } from "../servers/proxy.ts";
import { etcdctl } from "./etcdctl.ts";

const SLOW = { timeout: 120_000 };

const at = (...servers: { readonly host: string; readonly port: number }[]) =>
  `etcd://${servers.map(({ host, port }) => `${host}:${port}`).join()}`;

/** What is unsafe beside a version that has a fault: Debian's has it. */
async function beside(server: EtcdServer, url: string) {
  const findings = await examined(url);
  const version = /[\d.]+/.exec(`${(await server.rpc("maintenance/status")).version}`)![0];
  const isOld = version.startsWith("3.4.") ? isBefore(version, "3.4.31") : isBefore(version, "3.5.13");
  assertFound(findings, "version", isOld ? "unsafe" : "good", new RegExp(`etcd ${version}`));
  return { findings, unsafe: unsafeTopics(findings).filter((topic) => topic !== "version") };
}

test(
  "three members are safe, with one of them away too, and nothing stays of what was tried",
  SLOW,
  async () => {
    await using cluster = await EtcdCluster.start();
    const [first, second] = cluster.servers;
    const { findings, unsafe } = await beside(first!, at(...cluster.servers));
    assert.deepEqual(unsafe, []);
    assertFound(findings, "failover", "good", /Members: 3.* 1 may be away/);
    assertFound(findings, "size", "good");
    assertFound(findings, "lock", "good");
    assert.equal((await first!.rpc("kv/range", { key: btoa("\0"), range_end: btoa("\0") })).count, undefined);
    const { leases } = await first!.rpc("lease/leases");
    assert.equal(leases, undefined);
    await second!.kill();
    await cluster.leader(second);
    const { findings: fewer, unsafe: without } = await beside(first!, at(...cluster.servers));
    assert.deepEqual(without, []);
    assertFound(fewer, "members", "note", new RegExp(`${second!.port}.*ECONNREFUSED`));
  },
);

test("one member, and a ttl below its shortest", SLOW, async () => {
  await using server = await EtcdServer.start();
  const findings = await examined(at(server), { ttl: 1_000 });
  assertFound(findings, "failover", "note", /Members: 1.* 0 may be away: use three or five/);
  assertFound(findings, "ttl", "note", /1 s becomes 2 s/);
  const refused = (await examined(at(server), { ttl: 100 })).filter(({ topic }) => topic === "ttl");
  assert.deepEqual(refused.map(({ verdict }) => verdict), ["unsafe"]);
});

test("a database that is full, and that says so", SLOW, async () => {
  await using server = await EtcdServer.start({ args: ["--quota-backend-bytes", "100000"] });
  for (let n = 0; n < 2; n++) {
    await server.rpc("kv/put", { key: btoa("big"), value: btoa("x".repeat(90_000)) }).catch(() => {});
  }
  const { findings, unsafe } = await beside(server, at(server));
  assert.deepEqual(unsafe, ["alarm", "lock"]);
  assertFound(findings, "alarm", "unsafe", /NOSPACE.*alarm disarm/);
});

test("a user without a right to the keys: what is to be granted", SLOW, async () => {
  await using server = await EtcdServer.start();
  await etcdctl(server.url, "user", "add", `root:${PASSWORD}`);
  await etcdctl(server.url, "user", "grant-role", "root", "root");
  await etcdctl(server.url, "user", "add", `app:${PASSWORD}`);
  await etcdctl(server.url, "auth", "enable");
  const url = at(server).replace("//", `//app:${PASSWORD}@`);
  const findings = await examined(url);
  assertFound(findings, "lock", "unsafe", /grant-permission ROLE --prefix readwrite "holdfast\/"/);
  const root = ["--user", `root:${PASSWORD}`];
  await etcdctl(server.url, ...root, "role", "add", "locks");
  await etcdctl(
    server.url,
    ...root,
    "role",
    "grant-permission",
    "locks",
    "--prefix=true",
    "readwrite",
    "holdfast/",
  );
  await etcdctl(server.url, ...root, "user", "grant-role", "app", "locks");
  assertFound(await examined(url), "lock", "good");
  assertFound(await examined(url, { prefix: "other" }), "lock", "unsafe", /"other\/"/);
  const wrong = await examined(at(server).replace("//", `//app:${PASSWORD}-not@`));
  assert.deepEqual(unsafeTopics(wrong), ["access"]);
});

test("a cluster that is away, or says nothing, is an error", SLOW, async () => {
  await assert.rejects(examined("etcd://127.0.0.1:1"), { name: "BackendError" });
  await using server = await EtcdServer.start();
  await using proxy = await Proxy.start(server);
  proxy.cut();
  await assert.rejects(examined(at(proxy), { timeout: 500 }), { name: "BackendError" });
});
