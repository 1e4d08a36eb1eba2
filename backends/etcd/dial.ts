import type { Buffer } from "node:buffer";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** For TLS: PEM texts. */
export interface Credentials {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
}

/**
 * The socket to a server, which is ours to destroy: an HTTP/2 session that made its own would on Bun
 * only ask a server that no longer reads to close it, and the process would not end. It keeps no process
 * alive: the core's alarms do, while something is asked, waited for or held.
 */
export function dial(origin: string, credentials: Credentials): Socket {
  const { protocol, hostname, port } = new URL(origin);
  const host = hostname.replace(/^\[|\]$/g, "");
  const secure = protocol === "https:";
  const to = { host, port: Number(port || (secure ? 443 : 80)), noDelay: true };
  const socket = secure
    ? connectTls({
      ...to,
      ...credentials,
      ALPNProtocols: ["h2"],
      ...(isIP(host) ? {} : { servername: host }),
    })
    : connectTcp(to);
  socket.once(secure ? "secureConnect" : "connect", () => socket.unref()); // Deno 2.7 forgets it if told before
  return socket.on("error", () => {}); // the session tells
}
