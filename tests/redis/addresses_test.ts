/** What is an address, and what is refused: by name, and never with a part of a password. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { redis } from "../../backends/redis.ts";
import {
  type Destination,
  destination,
  place,
  type RedisAddress,
} from "../../backends/redis/client/destination.ts";
import { redlock } from "../../backends/redlock.ts";
import { shown } from "./refusal.ts";

/** Digits, as a port or a database might be, and a word. */
const SECRET = /4711|pa55/;

/** Everything an address might be taken for goes through here. */
function read(address: RedisAddress): Record<string, unknown> {
  const to: Destination = destination(address);
  return { ...("server" in to ? to.server : { nodes: to.cluster.nodes, ...to.cluster.node }) };
}

function refuses(address: unknown, message: RegExp, name: "TypeError" | "RangeError" = "TypeError"): void {
  assert.throws(() => redis(address as string), (error: Error) => {
    assert.match(error.message, message);
    assert.match(error.message, /^(Cannot|Expected|Unknown) /);
    assert.equal(error.name, name, error.message);
    assert.doesNotMatch(shown(error), SECRET, "nothing secret is shown");
    return true;
  });
}

test("URLs that people write", () => {
  const server = { host: "h", port: 6379 };
  const urls: [string, object, string?][] = [
    ["redis://h", server, "h:6379"],
    ["redis://h/", server],
    ["redis://h:", server],
    ["  redis://h\n", server],
    ["REDIS://h:1/2", { host: "h", port: 1, db: 2 }, "h:1"],
    ["valkey://h", server],
    ["rediss://h/0", { ...server, db: 0, tls: {} }],
    ["valkeys://h", { ...server, tls: {} }],
    ["redis://[::1]:7000/1", { host: "::1", port: 7000, db: 1 }, "[::1]:7000"],
    ["redis://[fe80::1]", { host: "fe80::1", port: 6379 }, "[fe80::1]:6379"],
    ["redis://user@h", { ...server, username: "user" }],
    ["redis://:pa55@h", { ...server, password: "pa55" }],
    ["redis://us%40er:p%3Aa%2F%23%25@h", { ...server, username: "us@er", password: "p:a/#%" }],
    ["redis://user:pa55:4711@h", { ...server, username: "user", password: "pa55:4711" }],
    ["redis://user:pa55@4711@h:1", { host: "h", port: 1, username: "user", password: "pa55@4711" }, "h:1"],
    ["redis://h?db=3", { ...server, db: 3 }],
    ["redis://h/3?db=3", { ...server, db: 3 }],
    ["redis://h?tls=true", { ...server, tls: {} }],
    ["redis://h?tls=false", { ...server, tls: undefined }],
    ["rediss://h?tls=true&family=6", { ...server, tls: {}, family: 6 }],
    ["redis://h?family=0&protocol=2", { ...server, family: 0, protocol: 2 }],
    ["unix:///run/redis.sock", { path: "/run/redis.sock" }, "/run/redis.sock"],
    ["unix:///run/a%20b?db=3", { path: "/run/a b", db: 3 }],
    ["unix://user:pa55@/run/redis.sock", { path: "/run/redis.sock", username: "user", password: "pa55" }],
  ];
  for (const [url, expected, at] of urls) {
    assert.deepEqual(read(url), expected, url);
    if (at) assert.equal(place(destination(url)), at);
    redis(url);
  }
});

test("URLs that are refused", () => {
  const urls: [string, RegExp][] = [
    ["", /empty string.*variable/],
    ["  ", /empty string.*variable/],
    ["localhost:6379", /redis:\/\//],
    ["pa55:4711@h", /redis:\/\//],
    ["/run/redis.sock", /unix:\/\/\/path/],
    ["//h:6379", /redis:\/\//],
    ["http://u:pa55@h", /redis:\/\//],
    ["redis:u:pa55@@::", /redis:\/\//],
    ["redis+sentinel://u:pa55@h/0/m", /sentinels/],
    ["redis-sentinel://:pa55@h", /sentinels/],
    ["redis+cluster://u:pa55@h", /cluster: \[/],
    ["redis+tls://u:pa55@h", /rediss:\/\//],
    ["redis+ssl://u:pa55@h", /rediss:\/\//],
    ["redis+unix:///run/redis.sock", /unix:\/\//],
    ["redis-socket:///run/redis.sock", /unix:\/\//],
    ["redis://", /without a host.*127\.0\.0\.1/],
    ["redis:///3", /without a host/],
    ["redis://:6379", /without a host/],
    ["redis://u:pa55@", /without a host/],
    ["redis://u:pa55@:6379", /without a host/],
    ["redis://u:pa55@h/x", /database.*number/],
    ["redis://u:pa55@h/-1", /database.*number/],
    ["redis://u:pa55@h/1/2", /database.*number/],
    ["redis://u:pa55@h:x", /host:port/],
    ["redis://h:pa55", /host:port/],
    ["redis://u:pa55@[::1", /host:port/],
    ["redis://u:pa55@::1:6379", /host:port/],
    // What an unescaped password makes of it.
    ["redis://:100%pa55@h", /escaped/],
    ["redis://:pa55%zz@h", /escaped/],
    ["redis://%:pa55@h", /escaped/],
    ["redis://u:4711#pa55@h:1", /escaped/],
    ["redis://u:4711/pa55@h:1", /escaped/],
    ["redis://u:4711/1@h:1", /escaped/],
    ["redis://u:4711?pa55@h:1", /escaped/],
    ["redis://u:4711?db=pa55@h:1", /escaped/],
    ["redis://u:x@4711/pa55@h:1", /escaped/],
    ["redis://:#pa55@h", /escaped/],
    ["redis://h#pa55", /escaped/],
    ["redis://h/#", /escaped/],
    // What is written for several hosts.
    ["redis://u:pa55@a,u:pa55@b", /stand once/],
    ["redis://a,u:pa55@b", /stand once/],
    // Parameters.
    ["redis://h?password=pa55", /parameter "password"/],
    ["redis://h?ssl_cert_reqs=none", /parameter "ssl_cert_reqs".*db, family, protocol, tls are known/],
    ["redis://h?toString=1", /parameter "toString"/],
    ["redis://h?db=x", /parameter "db"/],
    ["redis://h?db=-1", /parameter "db"/],
    ["redis://h?db=", /parameter "db"/],
    ["redis://h/1?db=2", /parameter "db".*contradicts/],
    ["redis://h?db=1&db=2", /parameter "db".*contradicts/],
    ["redis://h?tls=1", /parameter "tls"/],
    ["rediss://h?tls=false", /parameter "tls".*contradicts/],
    ["redis://h?tls=true&tls=false", /parameter "tls".*contradicts/],
    ["redis://h?family=5", /parameter "family"/],
    ["redis://h?protocol=4", /parameter "protocol"/],
    ["unix://run/redis.sock", /three slashes/],
    ["unix://", /three slashes/],
    ["unix:///run/redis.sock?tls=true", /parameter "tls".*contradicts/],
    ["unix:///run/redis.sock?family=4", /`path` and `family`/],
  ];
  for (const [url, message] of urls) refuses(url, message);
  refuses("redis://h:0", /port.* 1 to 65535/, "RangeError");
  refuses("redis://h:65536", /port.* 1 to 65535/, "RangeError");
  refuses("redis://h/4294967296", /"db".* 0 to/, "RangeError");
});

// Goes red if: `undefined` means the default, so that an unset variable locks what nobody else sees.
test("what an unset variable leaves is no address", () => {
  for (const nothing of [undefined, null, ""]) {
    refuses(nothing, /variable of the environment/);
    for (const nodes of [[nothing], ["redis://a", nothing, "redis://c"]]) {
      assert.throws(() => redlock(nodes as string[]), { name: "TypeError", message: /variable/ });
    }
  }
  for (
    const options of [{ host: undefined }, { port: undefined, db: 1 }, { path: undefined, host: undefined }]
  ) {
    refuses(options, /undefined as a Redis address/);
  }
  for (const nodes of [{ cluster: undefined, password: "pa55" }, { sentinels: undefined }]) {
    refuses(nodes, /undefined as a Redis address/);
  }
  redis();
  assert.deepEqual(read({ host: undefined, path: "/run/redis.sock" }), { path: "/run/redis.sock" });
  assert.deepEqual(read({ host: "h", password: undefined }), { host: "h" });
});

test("options that cannot be, or contradict each other", () => {
  const sentinels = [{ host: "s", port: 26379 }];
  const wrong: [unknown, RegExp][] = [
    [5, /options/],
    [[], /options/],
    [{ url: "redis://h" }, /Unknown option "url"/],
    [{ port: "6379" }, /"port".*number, got string/],
    [{ host: null }, /"host".*got null/],
    [{ host: "" }, /"host"/],
    [{ host: "redis://u:pa55@h" }, /"host".*alone/],
    [{ host: "h:4711" }, /"host".*alone/],
    [{ path: "" }, /empty path/],
    [{ tls: true }, /"tls".*object, got boolean/],
    [{ tls: { rejectUnauthorised: false } }, /Unknown option "rejectUnauthorised"/],
    [{ tls: { ca: 5 } }, /"ca"/],
    [{ path: "/run/redis.sock", host: "h" }, /`path` and `host`/],
    [{ path: "/run/redis.sock", port: 1 }, /`path` and `port`/],
    [{ path: "/run/redis.sock", tls: {} }, /`path` and `tls`/],
    [{ sentinels: {} }, /"sentinels".*array, got object/],
    [{ sentinels: [5], name: "m" }, /a Sentinel .*object, got number/],
    [{ sentinels: [{ port: 1 }], name: "m" }, /a Sentinel .*"host"/],
    [{ sentinels: [], name: "m" }, /`sentinels` without any/],
    [{ sentinels }, /"sentinels" without the "name"/],
    [{ sentinels, name: "" }, /"sentinels" without the "name"/],
    [{ sentinels, name: "m", host: "h" }, /`sentinels` and `host`/],
    [{ sentinels, name: "m", path: "/run/redis.sock" }, /`sentinels` and `path`/],
    [{ sentinels, name: "m", cluster: ["redis://h"] }, /`cluster` and `sentinels`/],
    [{ host: "h", name: "m" }, /"name" .*without "sentinels"/],
    [{ host: "h", sentinelPassword: "pa55" }, /"sentinelPassword" .*without "sentinels"/],
    [{ host: "h", natMap: {} }, /"natMap" .*without "sentinels" or "cluster"/],
    [{ host: "h", dnsLookup() {} }, /"dnsLookup" .*without "cluster"/],
    [{ sentinels, name: "m", natMap: { "a:1": { host: "b" } } }, /port/],
    [{ cluster: [] }, /`cluster` without nodes/],
    [{ cluster: [{ host: "h", port: "1" }] }, /"port" of a Cluster node .*number, got string/],
    [{ cluster: [undefined] }, /a Cluster node .*object, got undefined/],
    [{ cluster: [""] }, /Redis URL/],
    [{ cluster: ["redis://h"], host: "h" }, /`cluster` and `host`/],
    [{ cluster: ["redis://h"], db: 1 }, /`db` of a Cluster/],
    [{ cluster: ["redis://h/1"] }, /`db` of a Cluster/],
    [{ cluster: ["unix:///run/redis.sock"] }, /socket/],
    [{ cluster: ["redis://:pa55@a", "redis://:4711@b"] }, /differ in their password/],
    [{ cluster: ["redis://:pa55@a"], password: "4711" }, /differ in their password/],
    [{ cluster: ["redis://a", "rediss://b"] }, /with TLS and without/],
    [{ cluster: ["redis://a"], tls: {} }, /with TLS and without/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(() => redis(options as string), (error: Error) => {
      assert.match(error.message, message);
      assert.doesNotMatch(shown(error), SECRET);
      return true;
    });
  }
  const outside: [object, RegExp][] = [
    [{ port: 0 }, /port.* 1 to 65535, got 0/],
    [{ cluster: [{ host: "h", port: 0 }] }, /port.* 1 to 65535, got 0/],
    [{ db: -1 }, /"db".*got -1/],
    [{ db: 1.5 }, /"db".*got 1.5/],
    [{ db: NaN }, /"db".*got NaN/],
    [{ connectTimeout: 0 }, /"connectTimeout"/],
    [{ protocol: 4 }, /"protocol"/],
    [{ family: 5 }, /"family"/],
  ];
  for (const [options, message] of outside) refuses(options, message, "RangeError");
});

test("a Cluster is all that its URLs and the options say", () => {
  const nodes = [{ host: "a", port: 1 }, { host: "::1", port: 6379 }];
  const cluster = ["rediss://user:pa55@a:1", "rediss://[::1]"];
  assert.deepEqual(read({ cluster }), { nodes, username: "user", password: "pa55", tls: {} });
  assert.deepEqual(read({ cluster, tls: { ca: "c" }, db: 0, password: "pa55", connectTimeout: 5 }), {
    ...{ nodes, username: "user", password: "pa55", tls: { ca: "c" }, db: 0, connectTimeout: 5 },
  });
  assert.deepEqual(read({ cluster: ["redis://a:1", nodes[1]!], password: "pa55" }), {
    nodes,
    password: "pa55",
  });
  assert.deepEqual(read({ cluster: ["redis://a:1?family=6", "redis://[::1]/0"] }), {
    nodes,
    family: 6,
    db: 0,
  });
  assert.equal(place(destination({ cluster })), "a:1,[::1]:6379");
});

test("by Sentinel TLS is for the master, and `sentinelTLS` for the Sentinels", () => {
  const sentinels = [{ host: "s", port: 26379 }];
  const said = read({ sentinels, name: "m", tls: {} });
  assert.equal(said.enableTLSForSentinelMode, true);
  assert.equal(place(destination({ sentinels, name: "m" })), "m of s:26379");
});
