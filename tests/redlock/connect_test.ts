/** The ways to the nodes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { redis } from "../../backends/redis.ts";
import { redlock } from "../../backends/redlock.ts";
import { LockManager } from "../../mod.ts";
import { RULES } from "../redis/acl.ts";
import { Nodes } from "./nodes.ts";

/** What `redlock` needs besides what `redis` does. */
const REDLOCK = ["+info", "+hlen", "+hmget", "+pexpireat", "~holdfast:node"];

test("a user with the smallest rule can do everything", { timeout: 60_000 }, async () => {
  await using nodes = await Nodes.start(3);
  const rule = ["on", ">secret", ...RULES.base, ...REDLOCK];
  await Promise.all(nodes.servers.map((server) => server.cli("acl", "setuser", "locks", ...rule)));
  const urls = nodes.urls.map((url) => url.replace("redis://", "redis://locks:secret@"));
  await using a = new LockManager(redlock(urls, { maxTtl: 10_000 }));
  await using b = new LockManager(redlock(urls, { maxTtl: 10_000 }));
  const lock = await a.acquire("k", { metadata: "mine" });
  await nodes.unanimous("holdfast/{k}:votes", lock.id);
  await lock.renew();
  const waiting = b.acquire("k");
  assert.equal((await b.inspect("k"))?.holders.length, 1);
  assert.equal((await b.query()).held?.length, 1);
  assert.equal(await lock.release(), true);
  await (await waiting).release();
  await using stolen = await b.acquire("k", { steal: true });
  assert.ok(stolen.held);
});

test("nodes that are none are refused", () => {
  assert.throws(() => redlock([]), TypeError);
  assert.throws(() => redlock(["redis://h"], { maxTtl: 1 }), RangeError);
  assert.throws(() => redlock(["http://h"]), TypeError);
  const twice = { name: "TypeError", message: /^Cannot use h:6379 as two Redlock nodes/ };
  assert.throws(() => redlock(["redis://h", "redis://h2", "redis://u:p@h:6379/1"]), twice);
  assert.throws(() => redlock([redis("redis://H"), { host: "h" }]), twice);
  const locator = () => Promise.resolve("redis://h");
  redlock([locator, locator]); // where they lead is known later
});
