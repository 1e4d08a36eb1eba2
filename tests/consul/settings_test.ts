/** Addresses, as they are read. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { settings } from "../../backends/consul/address.ts";

const ADDRESSES: [Parameters<typeof settings>[0], string][] = [
  ["http://127.0.0.1:8500", "http 127.0.0.1 8500 "],
  ["http://127.0.0.1:8500/", "http 127.0.0.1 8500 "],
  ["https://consul.example", "https consul.example 443 "],
  ["http://[::1]:8500/v1", "http ::1 8500 "],
  ["http://[fe80::1%25eth0]:8500", "http fe80::1%eth0 8500 "],
  ["http://[fe80::1%eth0.7]", "http fe80::1%eth0.7 80 "],
  ["[fe80::1%25lo]:8501", "http fe80::1%lo 8501 "],
  [{ host: "fe80::1%eth0" }, "http fe80::1%eth0 8500 "],
  ["http://127.0.0.1:8500?dc=dc1", "http 127.0.0.1 8500 "],
  ["https://gateway.example/consul/v1/", "https gateway.example 443 /consul"],
  ["http://me:p%40ss@127.0.0.1:8500", "http 127.0.0.1 8500  me:p@ss"],
  ["consul.service:8501", "http consul.service 8501 "],
  ["consul.service", "http consul.service 8500 "],
  [{}, "http 127.0.0.1 8500 "],
  [{ host: "10.0.0.1", port: 1 }, "http 10.0.0.1 1 "],
  [{ secure: true }, "https 127.0.0.1 8501 "],
  [() => Promise.resolve("10.0.0.2:8500"), "http 10.0.0.2 8500 "],
  [() => Promise.resolve({ host: "10.0.0.3", secure: true }), "https 10.0.0.3 8501 "],
];

test("an address can be a URL, a host and port, options, or what a locator finds", async () => {
  for (const [target, expected] of ADDRESSES) {
    const { secure, host, port, path, auth } = await settings(target, {}).locate();
    const read = `${secure ? "https" : "http"} ${host} ${port} ${path}${
      auth === undefined ? "" : ` ${auth}`
    }`;
    assert.equal(read, expected);
  }
});

test("options beside an address, and the security of an address without a scheme", async () => {
  const { secure, port } = await settings("consul.service", { secure: true }).locate();
  assert.deepEqual([secure, port], [true, 8501]);
  const { token, query, prefix, node, transport } = settings("http://127.0.0.1:8500", {
    token: "t",
    datacenter: "d",
    namespace: "s",
    partition: "p",
    prefix: "a/b",
    node: "n",
    ca: "c",
  });
  assert.deepEqual(
    { token, query, prefix, node, transport },
    {
      token: "t",
      query: { dc: "d", ns: "s", partition: "p" },
      prefix: "a/b/",
      node: "n",
      transport: { ca: "c" },
    },
  );
  assert.deepEqual(settings("http://h:1/?dc=d&ns=s", { partition: "p", datacenter: "d" }).query, query);
  for (const url of ["http://h?token=secret", "http://h?dc=a&dc=b", "http://h?dc=", "http://h?wait=secret"]) {
    assert.throws(
      () => settings(url, {}),
      (error: Error) => !/secret/.test(error.message) && /Expected/.test(error.message),
    );
  }
  assert.throws(() => settings("http://h?dc=a", { datacenter: "b" }), /"datacenter"/);
});
