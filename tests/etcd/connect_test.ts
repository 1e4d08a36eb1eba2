/** How one gets to etcd: addresses, locators, clients, TLS, users; and away from it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, connect as dial, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { after, before, describe, test } from "node:test";
import { Etcd3 } from "etcd3";
import { etcd } from "../../backends/etcd.ts";
import { EtcdClient } from "../../backends/etcd/client/client.ts";
import { readOrigin } from "../../backends/etcd/client/dial.ts";
import { readTarget } from "../../backends/etcd/address.ts";
import { BackendError, LockManager } from "../../mod.ts";
import { EtcdServer } from "../servers/etcd.ts";
import { freePort, HOST } from "../servers/process.ts";
import { etcdctl } from "./etcdctl.ts";

/** Listens at another address for a server. */
async function relay(host: string, to: number): Promise<AsyncDisposable & { readonly port: number }> {
  const listener = createServer((client) => {
    const server = dial(to, HOST);
    for (const socket of [client, server]) socket.on("error", () => {}).unref();
    client.pipe(server).pipe(client);
  }).listen(0, host);
  await once(listener, "listening");
  return {
    port: (listener.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => void listener.close(),
  };
}

describe("connecting to etcd", () => {
  let server: EtcdServer;
  before(async () => void (server = await EtcdServer.start()));
  after(async () => await server[Symbol.asyncDispose]());

  const works = async (locks: LockManager) => {
    const lock = await locks.acquire("k");
    assert.equal(await locks.tryAcquire("k"), undefined);
    assert.equal(await lock.release(), true);
  };

  /** Calls may take 10 s: no connection is given up because a server stands still for a moment. */
  const patient = { ttl: 60_000, retryFor: 60_000 };

  test("by a URL, by host and port, by options", async () => {
    const { url, host, port } = server;
    for (const target of [url, `${host}:${port}`, [url], { hosts: url }, { hosts: [url] }]) {
      await using locks = new LockManager(etcd(target));
      await works(locks);
    }
  });

  test("past a member that is down", async () => {
    await using locks = new LockManager(etcd([`${HOST}:${await freePort()}`, server.url]));
    for (let n = 0; n < 3; n++) await works(locks);
  });

  test("wherever the locator says, asked again at every connection", async () => {
    const dead = `${HOST}:${await freePort()}`;
    const answers = [() => Promise.reject(new Error("no such service")), () => Promise.resolve(dead)];
    let asked = 0;
    await using locks = new LockManager(
      etcd(() => (answers[asked++] ?? (() => Promise.resolve(server.url)))()),
      patient,
    );
    await works(locks);
    await works(locks);
    assert.equal(asked, 3);
  });

  test("over a client handed in, which stays open", async () => {
    const client = new Etcd3({ hosts: server.url });
    const locks = new LockManager(etcd(client));
    await works(locks);
    await locks.close();
    await client.put("still").value("open");
    assert.equal(await client.get("still").string(), "open");
    client.close();
  });

  test("a locator that once gives no answer is asked again", async () => {
    let asked = 0;
    await using locks = new LockManager(
      etcd(() => ++asked === 1 ? new Promise<string>(() => {}) : Promise.resolve(server.url)),
      patient,
    );
    await works(locks);
    assert.equal(asked, 2);
  });

  test("an address or option that is none is refused before anything is sent, without showing a password", () => {
    const addresses = [
      "",
      "http://",
      "http://user:secret@127.0.0.1:2379",
      "user:secret@h:1",
      "a?b:1",
      "a b:1",
    ];
    const users = [{ username: "only" }, { password: "secret" }, { username: "", password: "secret" }];
    const others = [null, 42, Number.NaN, true, [], [5], { host: "h:1" }, { hosts: null }, { kv: {} }];
    const pem = "-----BEGIN CERTIFICATE-----";
    const tls: unknown[] = [true, "pem", { ca: 5 }, { caFile: "ca.pem" }, { cert: pem }, { key: pem }, {
      servername: "",
    }];
    const paths = ["/etc/ssl/secret.pem", "secret", new TextEncoder().encode("./secret.pem"), {
      secret: pem,
    }];
    tls.push(...paths.flatMap((path) => [{ ca: path }, { cert: path, key: pem }, { cert: pem, key: path }]));
    const typed = [...addresses, ...users, { username: "worker", password: 5 }, ...others];
    const targets = [...typed, ...tls.map((tls) => ({ tls }))].map((target) => [target, TypeError] as const);
    const ports = ["h:0", "h:65536", "http://h:99999"].map((target) => [target, RangeError] as const);
    for (const [target, kind] of [...targets, ...ports]) {
      assert.throws(() => etcd(target as never), (error: Error) => {
        assert.equal(error.constructor, kind, String(error));
        assert.match(error.message, /^(Cannot|Expected|Unknown)/);
        assert.ok(!error.message.includes("secret"));
        return true;
      }, JSON.stringify(target));
    }
  });

  test("nobody there is a BackendError", async () => {
    await using locks = new LockManager(etcd(`${HOST}:${await freePort()}`), { retryFor: 0 });
    await assert.rejects(locks.acquire("k"), BackendError);
  });

  test("a path where a PEM text is meant is told so, by the name of the option", () => {
    const pem = "-----BEGIN CERTIFICATE-----";
    for (const [name, tls] of Object.entries({ ca: {}, cert: { key: pem }, key: { cert: pem } })) {
      const wrong = new RegExp(`"${name}" of tls of etcd\\(\\).* not its path`);
      assert.throws(() => etcd({ tls: { ...tls, [name]: "/etc/ssl/x.pem" } }), {
        name: "TypeError",
        message: wrong,
      });
    }
  });

  test("an address with a zone, which stays on this machine", async () => {
    const origin = { secure: false, host: "fe80::1%eth0", port: 2379, authority: "[fe80::1]:2379" };
    for (const zone of ["%eth0", "%25eth0"]) {
      assert.deepEqual(readOrigin(`http://[fe80::1${zone}]:2379`), origin);
    }
    const loop = Object.entries(networkInterfaces()).find(([, all]) =>
      all!.some((one) => one.address === "::1")
    );
    if (loop === undefined || "Deno" in globalThis) return; // no IPv6 here, or Deno, which refuses zones
    await using proxy = await relay("::1", server.port);
    await using locks = new LockManager(etcd(`http://[::1%${loop[0]}]:${proxy.port}`));
    await works(locks);
  });
});

describe("etcd over TLS", () => {
  let server: EtcdServer;
  let plain: EtcdServer;
  before(async () => {
    [server, plain] = await Promise.all([EtcdServer.start({ tls: "DNS:etcd.internal" }), EtcdServer.start()]);
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await plain[Symbol.asyncDispose]();
  });

  test("with the authority that signed its certificate, and the client's own", async () => {
    const { ca, cert, key } = server.certificates!;
    const servername = "etcd.internal"; // the certificate is for that alone, not for the address
    const tls = {
      servername,
      ca: readFileSync(ca, "utf8"),
      cert: readFileSync(cert),
      key: readFileSync(key),
    };
    await using locks = new LockManager(etcd({ hosts: server.url, tls }));
    await using lock = await locks.acquire("k");
    assert.ok(lock.held);
    await using others = new LockManager(etcd({ hosts: server.url, tls: { ca: tls.ca, servername } }));
    assert.equal(await others.tryAcquire("k"), undefined);
    for (const name of [{}, { servername: "other.internal" }]) {
      await using wrong = new LockManager(etcd({ hosts: server.url, tls: { ca: tls.ca, ...name } }), {
        retryFor: 0,
      });
      await assert.rejects(wrong.acquire("k"), BackendError);
    }
  });

  test("where one side speaks it and the other does not, the error says what may help", async () => {
    for (
      const [url, says] of [[server.url.replace("s:", ":"), /give https/], [
        plain.url.replace(":", "s:"),
        /give http:/,
      ]] as const
    ) {
      await using locks = new LockManager(etcd(url), { retryFor: 0 });
      await assert.rejects(locks.acquire("k"), says);
    }
  });

  test("not with a certificate that nobody vouches for", async () => {
    await using locks = new LockManager(etcd(server.url), { retryFor: 0 });
    await assert.rejects(locks.acquire("k"), BackendError);
  });
});

describe("etcd with users", () => {
  const password = "a secret that nobody may see";
  const user = { username: "worker", password };
  let server: EtcdServer;
  before(async () => {
    server = await EtcdServer.start({ args: ["--auth-token-ttl", "1"] });
    await etcdctl(server.url, "user", "add", `root:${password}`);
    await etcdctl(server.url, "user", "grant-role", "root", "root");
    // The recipe of the module's documentation.
    const documentation = readFileSync(new URL("../../backends/etcd.ts", import.meta.url), "utf8");
    const recipe = [...documentation.matchAll(/^ \* etcdctl (.*)$/gm)].map(([, args]) => args!.split(" "));
    assert.equal(recipe.length, 4);
    for (const args of recipe) {
      await etcdctl(server.url, ...args.map((arg) => arg.replace("PASSWORD", password)));
    }
    await etcdctl(server.url, "auth", "enable");
  });
  after(async () => await server[Symbol.asyncDispose]());

  const refused = (locks: LockManager) =>
    assert.rejects(locks.acquire("k"), (error: Error) => {
      assert.ok(error instanceof BackendError && !error.retryable, String(error));
      for (let shown: unknown = error; shown instanceof Error; shown = shown.cause) {
        assert.ok(!`${shown.message}${shown.stack}`.includes(password));
      }
      return true;
    });

  test("a permission for the prefix is all it takes; tokens expire and are renewed", async () => {
    await using locks = new LockManager(etcd({ hosts: server.url, ...user }), { ttl: 9_000 });
    await using lock = await locks.acquire("k");
    await using watch = locks.watch("k");
    await watch.ready;
    let renewals = 0;
    const renewed = new Promise<void>((resolve, reject) => {
      lock.addEventListener("renewed", () => ++renewals === 2 && resolve());
      lock.addEventListener("lost", () => reject(lock.signal.reason));
    });
    await renewed; // from one to the next is longer than a token lives
    assert.ok(lock.held);
    const told = new Promise((resolve) => lock.addEventListener("lost", resolve));
    await using thief = await locks.acquire("k", { steal: true });
    await told;
    assert.ok(thief.held && !lock.held);
  });

  test("a watch opened after the token has expired hears", async () => {
    await using locks = new LockManager(etcd({ hosts: server.url, ...user }), { ttl: 60_000 });
    await using _first = await locks.acquire("other");
    await new Promise((resolve) => setTimeout(resolve, 2_500)); // the token's life is what this is about
    await using watch = locks.watch("k2");
    await watch.ready;
    const locked = new Promise<Event>((resolve) => watch.addEventListener("locked", resolve, { once: true }));
    await using _lock = await locks.acquire("k2");
    await locked;
  });

  test("a wrong password, no password, another prefix: refused for good", async () => {
    const wrong = { hosts: server.url, username: "worker", password: `not ${password}` };
    await using one = new LockManager(etcd(wrong));
    await refused(one);
    await using two = new LockManager(etcd(server.url));
    await refused(two);
    await using three = new LockManager(etcd({ hosts: server.url, ...user }), { prefix: "elsewhere" });
    await refused(three);
    // It names who may not do what, and what to do.
    await assert.rejects(three.tryAcquire("k"), /"worker".*"elsewhere\/".*role grant-permission/);
    const port = new EtcdClient(readTarget({ hosts: server.url, ...user }));
    const watching = () =>
      port.watch({ key: Buffer.from("elsewhere/k/") }, { changed() {}, failed() {} }).ready;
    await assert.rejects(watching(), /refused/); // perhaps its login is too old
    await assert.rejects(watching(), {
      name: "BackendError",
      retryable: false,
      message: /"worker".*"elsewhere\/"/,
    });
    port.close();
  });
});
