/** TLS as libpq's `sslmode` means it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { after, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import pg from "pg";
import postgres from "postgres";
import { type PostgresTarget, route } from "../../backends/postgres/address.ts";
import type { LinkRequest } from "../../backends/postgres/client/link.ts";
import { shown } from "../redis/refusal.ts";
import { certificates } from "../servers/certificates.ts";
import { PostgresServer } from "../servers/postgres.ts";
import { HOST } from "../servers/process.ts";
import { dataFolder } from "../servers/reaper.ts";
import { script } from "../servers/script.ts";

const SLOW = { timeout: 60_000 };
const REQUEST: LinkRequest = { abandoned: new AbortController().signal, down() {} };

const own = await certificates(dataFolder("postgres-tls"));
const alien = await certificates(dataFolder("postgres-tls"), "DNS:db.example");
const [server, other, plain] = await Promise.all([
  PostgresServer.start({
    tls: own,
    hba: [
      `hostssl all secure ${HOST}/32 trust`,
      `hostnossl all bare ${HOST}/32 trust`,
      `hostssl all localhost ${HOST}/32 cert`, // as the certificates are called
      `host all postgres ${HOST}/32 trust`,
    ],
  }),
  PostgresServer.start({ tls: alien }),
  PostgresServer.start(),
]);
after(() => Promise.all([server, other, plain].map((one) => one[Symbol.asyncDispose]())));
await server.sql("CREATE ROLE secure LOGIN; CREATE ROLE bare LOGIN; CREATE ROLE localhost LOGIN");

/** Whether TLS is spoken over a connection to this target, and who has logged in. */
async function spoken(target: unknown): Promise<string> {
  const link = await route(target as PostgresTarget).listen!(REQUEST);
  const ask = "SELECT CASE WHEN ssl THEN 'TLS' ELSE 'plain' END || ' ' || current_user FROM pg_stat_ssl " +
    "WHERE pid = pg_backend_pid()";
  const [[answer] = []] = await link.query(ask);
  link.close();
  return answer!;
}

function at({ port }: { port: number }, parameters = "", user = "postgres"): string {
  return `postgres://${user}@${HOST}:${port}/postgres?${parameters}`;
}

async function refused(target: unknown, message: RegExp): Promise<void> {
  await assert.rejects(spoken(target), (error: Error & { code?: string }) => {
    assert.match(`${error.code} ${error.message}`, message);
    return true;
  });
}

/** What each runtime says of a certificate from an authority that it does not trust. */
const MISTRUSTED = /UnknownIssuer|BadSignature|UNABLE_TO|SELF_SIGNED|self.signed|unable to/i;
const MISNAMED = /NotValidForName|ALTNAME|altname/i;

test("each mode, where both are allowed", async () => {
  const modes = { disable: "plain", allow: "plain", prefer: "TLS", require: "TLS" };
  for (const [mode, expected] of Object.entries(modes)) {
    assert.equal(await spoken(at(server, `sslmode=${mode}`)), `${expected} postgres`, mode);
  }
  assert.equal(await spoken(at(server)), "TLS postgres");
  const socket = { host: server.folder, port: server.port, user: "postgres", sslmode: "verify-full" };
  assert.equal(await spoken(socket), "plain postgres", "there is none over a Unix socket");
});

test("`allow` and `prefer` fall back to what the server allows", async () => {
  assert.equal(await spoken(at(server, "sslmode=allow", "secure")), "TLS secure");
  assert.equal(await spoken(at(server, "sslmode=prefer", "bare")), "plain bare");
  await refused(at(server, "sslmode=disable", "secure"), /28000.*no encryption/);
  await refused(at(server, "sslmode=require", "bare"), /28000.*SSL encryption/);
  await refused(at(server, "sslmode=prefer", "nobody"), /28000.*SSL encryption/);
  await refused(at(server, "sslmode=allow", "nobody"), /28000.*SSL encryption/);
});

test("a server without TLS", async () => {
  for (const mode of ["disable", "allow", "prefer"]) {
    assert.equal(await spoken(at(plain, `sslmode=${mode}`)), "plain postgres", mode);
  }
  for (const mode of ["require", "verify-ca", "verify-full"]) {
    await refused(at(plain, `sslmode=${mode}`), /the server does not speak TLS/);
  }
});

// Goes red if: a certificate that proves nothing is taken.
test("who the server is", async () => {
  const verified = (name: string) => `sslmode=verify-${name}`;
  const [ours, theirs] = [`sslrootcert=${own.ca}`, `sslrootcert=${alien.ca}`];
  for (const mode of [verified("ca"), verified("full"), "sslmode=require"]) {
    assert.equal(await spoken(at(server, `${mode}&${ours}`)), "TLS postgres", mode);
    await refused(at(server, `${mode}&${theirs}`), MISTRUSTED);
  }
  for (const mode of [verified("ca"), verified("full"), "sslrootcert=system"]) {
    await refused(at(server, mode), MISTRUSTED);
  }
  assert.equal(await spoken(at(other, `${verified("ca")}&${theirs}`)), "TLS postgres");
  await refused(at(other, `${verified("full")}&${theirs}`), MISNAMED);
  await refused(at(server, `sslmode=verify-ca&sslrootcert=${own.ca}.not`), /`sslrootcert`.*ENOENT/);

  const to = { host: HOST, port: other.port, user: "postgres" };
  const ca = readFileSync(alien.ca);
  assert.equal(await spoken({ ...to, tls: { ca, servername: "db.example" } }), "TLS postgres");
  await refused({ ...to, tls: { ca } }, MISNAMED);
  await refused({ ...to, tls: { ca, servername: "db2.example" } }, MISNAMED);
  await refused({ ...to, tls: { servername: "db.example" } }, MISTRUSTED);
});

test("who we are", async () => {
  const pair = `sslcert=${own.cert}&sslkey=${own.key}`;
  assert.equal(await spoken(at(server, `sslmode=require&${pair}`, "localhost")), "TLS localhost");
  const [ca, cert, key] = [own.ca, own.cert, own.key].map((path) => readFileSync(path, "utf8"));
  const to = { host: HOST, port: server.port, user: "localhost", database: "postgres" };
  assert.equal(await spoken({ ...to, tls: { ca, cert, key } }), "TLS localhost");
  await assert.rejects(spoken({ ...to, tls: { ca, cert, key: "pa55" } }), (error) => {
    assert.doesNotMatch(shown(error), /pa55/);
    return true;
  });
  await refused({ ...to, tls: { ca } }, /28000.*certificate|certificate.*required|CERTIFICATE_REQUIRED/i);
});

test("connections made like those of a client speak TLS as it does", async () => {
  const ca = readFileSync(own.ca, "utf8");
  const wrong = readFileSync(alien.ca, "utf8");
  const to = { host: HOST, port: server.port, user: "postgres", database: "postgres" };
  for (const make of [postgres, (options: object) => new pg.Pool(options)]) {
    assert.equal(await spoken(make({ ...to, ssl: { ca } })), "TLS postgres");
    assert.equal(await spoken(make({ ...to, ssl: { rejectUnauthorized: false } })), "TLS postgres");
    assert.equal(await spoken(make({ ...to, ssl: false })), "plain postgres");
    await refused(make({ ...to, ssl: { ca: wrong } }), MISTRUSTED);
    await refused(make({ ...to, ssl: true }), MISTRUSTED);
    await refused(make({ ...to, port: other.port, ssl: { ca: wrong } }), MISNAMED);
  }
  for (const ssl of ["require", "prefer", "allow"] as const) {
    assert.equal(await spoken(postgres({ ...to, ssl })), "TLS postgres");
  }
  assert.equal(await spoken(postgres({ ...to, port: plain.port, ssl: "prefer" })), "plain postgres");
  await refused(postgres({ ...to, ssl: "verify-full" }), MISTRUSTED);
});

test("the end of such a connection is told", async () => {
  const ended = Promise.withResolvers<unknown>();
  const link = await route(at(server, "sslmode=require")).open({ ...REQUEST, down: ended.resolve });
  await server.sql(`SELECT pg_terminate_backend(${link.pid})`);
  assert.match(`${await ended.promise}`, /terminating connection/);
});

test("TLS from the first byte", async () => {
  const pem = { cert: readFileSync(own.cert), key: readFileSync(own.key) };
  const proxy = createTlsServer({ ...pem, ALPNProtocols: ["postgresql"] }, (socket) => {
    const to = connect(server.port, HOST);
    socket.pipe(to).pipe(socket);
    for (const end of [socket, to]) end.on("error", () => {});
  });
  await once(proxy.listen(0, HOST), "listening");
  const { port } = proxy.address() as { port: number };
  const direct = `sslmode=verify-full&sslrootcert=${own.ca}&sslnegotiation=direct`;
  assert.equal(await spoken(at({ port }, direct)), "plain postgres", "behind the proxy");
  proxy.close();
});

// Goes red if: what comes after the answer, before there is TLS, is taken for the server's.
test("nothing is believed that comes before TLS", async () => {
  for (const answer of ["SR", "E", "HTTP/1.1 400"]) {
    const peer = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.write(answer));
    });
    await once(peer.listen(0, HOST), "listening");
    await refused(at(peer.address() as { port: number }, "sslmode=require"), /does not speak the protocol/);
    peer.close();
  }
});

test("a process with such connections at rest ends by itself", SLOW, async () => {
  const url = at(server, "sslmode=require");
  const [binary, args] = script(new URL("./exit_child.ts", import.meta.url), [url, "url", "postgres"]);
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk) => said += chunk);
  const [code] = await once(child, "close");
  assert.deepEqual([code, said.trim()], [0, "done"]);
});
