import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { checkServerIdentity, connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { type Host, isPath } from "./options.ts";
import { orUndo } from "./waiting.ts";

/** Milliseconds of silence after which the operating system asks whether the server is still there. */
const KEEP_ALIVE = 60_000;

/** What asks a Postgres server to speak TLS. */
const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);

/** Connects to a server, or to its Unix socket. The socket keeps no process alive. */
export async function dial({ host, port }: Host, signal: AbortSignal): Promise<Socket> {
  const socket = new Socket();
  socket.unref();
  socket.on("error", () => {});
  const connected = new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
    if (isPath(host)) socket.connect(`${host}/.s.PGSQL.${port}`);
    else socket.connect(port, host);
  });
  await orUndo(connected, signal, () => socket.destroy());
  socket.unref(); // some runtimes forget it while they connect
  if (!isPath(host)) {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE);
  }
  return socket;
}

/** A connection that is made by a function of the user. */
export async function theirs(connected: () => Promise<Duplex>, signal: AbortSignal): Promise<Duplex> {
  const made = connected();
  const socket = await orUndo(made, signal, () => void made.then((socket) => socket.destroy(), () => {}));
  socket.on("error", () => {});
  (socket as Partial<Socket>).unref?.();
  return socket;
}

/** Speaks TLS over a socket; `undefined` if the server does not want to. */
export function encrypt(
  socket: Duplex,
  options: ConnectionOptions,
  isDirect: boolean,
  signal: AbortSignal,
): Promise<TLSSocket | undefined> {
  let secured: TLSSocket | undefined;
  const ready = new Promise<TLSSocket | undefined>((resolve, reject) => {
    const begin = () => {
      try {
        secured = connect({ ...options, ...(isDirect && { ALPNProtocols: ["postgresql"] }), socket });
      } catch (error) {
        return reject(error); // a certificate or a key that cannot be read
      }
      secured.on("error", reject);
      secured.once("close", () => reject(closedEarly()));
      secured.once("secureConnect", () => {
        const mistrust = stranger(secured!, options);
        if (mistrust) return reject(mistrust);
        secured!.unref(); // the oldest Deno and Bun do not inherit it
        resolve(secured);
      });
    };
    socket.once("error", reject);
    socket.once("close", () => reject(closedEarly()));
    if (isDirect) return begin();
    socket.once("data", (chunk: Uint8Array) => {
      const [said] = chunk;
      // More than one byte: what came before the encryption must not be taken for what comes after it.
      if (chunk.length > 1 || said !== S && said !== N) reject(noPostgres());
      else if (said === N) resolve(undefined);
      else begin(); // at once: what is read before TLS has taken over would be missing in it
    });
    socket.write(SSL_REQUEST);
  });
  return orUndo(ready, signal, () => {
    socket.destroy();
    secured?.destroy();
  });
}

/**
 * Why the server is not the right one, by the name in its certificate: Bun 1.3 does not look at that itself where it
 * was given a socket. Deno does, and does not show all names.
 */
function stranger(secured: TLSSocket, options: ConnectionOptions): Error | undefined {
  if (options.rejectUnauthorized === false || !("Bun" in globalThis)) return undefined;
  const check = options.checkServerIdentity ?? checkServerIdentity;
  return check(options.servername ?? options.host!, secured.getPeerCertificate());
}

const [S, N] = [83, 78];

/** Something else answers. */
export function noPostgres(): Error {
  return new Error("what answers there does not speak the protocol of Postgres");
}

/** The connection has ended before anything was said. */
export function closedEarly(): Error {
  return new Error("the server has closed the connection before it said anything");
}
