/** Who talks to whom: TLS, ACLs. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import net, { type AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import Consul from "consul";
import { consul } from "../../backends/consul.ts";
import { LockManager } from "../../mod.ts";
import { certificates } from "../servers/certificates.ts";
import { ConsulServer } from "../servers/consul.ts";
import { HOST } from "../servers/process.ts";
import { dataFolder } from "../servers/reaper.ts";
import { refusal, works } from "./works.ts";

describe("Consul with TLS", () => {
  let server: ConsulServer;
  let pem: { ca: string; cert: string; key: string };
  before(async () => {
    server = await ConsulServer.start({ tls: true, config: { verify_incoming_https: true } });
    const { ca, cert, key } = server.certificates!;
    pem = { ca: readFileSync(ca, "utf8"), cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  });
  after(async () => await server[Symbol.asyncDispose]());

  test("an authority of one's own, and a certificate for the client", async () => {
    const url = `https://${HOST}:${server.tlsPort}`;
    for (
      const backend of [consul(url, pem), consul({ host: HOST, port: server.tlsPort, secure: true, ...pem })]
    ) {
      await using locks = new LockManager(backend);
      await works(locks);
    }
  });

  test("an authority that is not trusted, or no certificate to show, is an error", async () => {
    const url = `https://${HOST}:${server.tlsPort}`;
    assert.match((await refusal(consul(url))).message, /certificate|self.signed|issuer/i);
    assert.match((await refusal(consul(url, { ca: pem.ca }))).message, /Cannot talk to the Consul agent/);
  });

  test("plain HTTP where TLS is spoken, and the other way round, is named in the error", async () => {
    const { message, retryable } = await refusal(consul(`http://${HOST}:${server.tlsPort}`));
    assert.match(message, /it speaks TLS there \(give its address as https:\/\/, or consuls:/);
    assert.equal(retryable, false);
    assert.match(
      (await refusal(consul(`https://${HOST}:${server.port}`))).message,
      /does it speak plain HTTP there.*consul:/,
    );
  });
});

test("an impostor is told nothing, least of all the token", async () => {
  const folder = dataFolder("consul");
  const { cert, key } = await certificates(folder);
  const { ca } = await certificates(dataFolder("consul"));
  let heard = 0;
  const impostor = tls.createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (socket) => {
    socket.on("data", (bytes) => heard += bytes.length);
    socket.on("error", () => {});
  });
  impostor.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => impostor.listen(0, HOST, resolve));
  const { port } = impostor.address() as AddressInfo;
  const backend = consul({ host: HOST, port, secure: true, ca: readFileSync(ca, "utf8"), token: "secret" });
  const { message, stack } = await refusal(backend);
  assert.match(message, /Cannot talk to the Consul agent/);
  assert.doesNotMatch(`${message} ${stack}`, /secret/);
  await new Promise((resolve) => impostor.close(resolve));
  assert.equal(heard, 0);
});

/** All that an error says anywhere: as text, in properties, in what caused it. */
function everything(error: unknown): string {
  if (error instanceof Uint8Array) return Buffer.from(error).toString("latin1");
  if (typeof error !== "object" || error === null) return String(error);
  const parts = Reflect.ownKeys(error).map((key) => (error as Record<PropertyKey, unknown>)[key]);
  return [String(error), ...parts.map(everything)].join(" ");
}

// Goes red if: the bytes that `node:http` could not read are part of the error.
test("a reply that is no HTTP, and repeats the token, shows it in no error", async () => {
  const parrot = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => void socket.end(`HTTP/1.1 200 OK\r\n\0: \0\r\n${bytes}`));
  });
  await new Promise<void>((resolve) => parrot.unref().listen(0, HOST, resolve));
  const { port } = parrot.address() as AddressInfo;
  const client = new Consul({ host: HOST, port });
  for (const target of [`http://${HOST}:${port}`, client]) {
    const error = await refusal(consul(target, { token: "secret" }));
    assert.doesNotMatch(everything(error), /secret/);
  }
  client.destroy();
  await new Promise((resolve) => parrot.close(resolve));
});

describe("Consul with ACLs", () => {
  let server: ConsulServer;
  before(async () => void (server = await ConsulServer.start({ acl: true })));
  after(async () => await server[Symbol.asyncDispose]());

  const KEYS = 'key_prefix "holdfast/" { policy = "write" }';
  const SESSIONS = 'session "server1" { policy = "write" }'; // the node of the agent that is talked to

  async function token(name: string, ...rules: string[]): Promise<string> {
    await server.api("PUT", "acl/policy", { Name: name, Rules: rules.join("\n") });
    const created = await server.api("PUT", "acl/token", { Policies: [{ Name: name }] });
    return (created as { SecretID: string }).SecretID;
  }

  test("a token with the smallest policy can do everything", async () => {
    await using locks = new LockManager(
      consul(server.url, { token: await token("smallest", KEYS, SESSIONS) }),
    );
    await works(locks);
  });

  test("a client's own token is used", async () => {
    const { host, port } = server;
    const client = new Consul({ host, port, defaults: { token: await token("client", KEYS, SESSIONS) } });
    await using locks = new LockManager(consul(client));
    await works(locks);
    client.destroy();
  });

  test("less is refused at once and for good, with what is missing, and without the token", async () => {
    const tokens = [
      await token("keys", KEYS),
      await token("sessions", SESSIONS),
      crypto.randomUUID(),
      undefined,
    ];
    for (const token of tokens) {
      const error = await refusal(consul(server.url, token === undefined ? {} : { token }));
      assert.match(error.message, /Consul refused the ACL token.*"write" on the key prefix.*sessions/);
      assert.equal(error.retryable, false);
      assert(token === undefined || !JSON.stringify([error.message, error.stack]).includes(token));
    }
  });
});
