import type { Buffer } from "node:buffer";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** For TLS: PEM texts, and the name that the server's certificate has to have. */
export interface Credentials {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
}

/** An origin, taken apart. */
export interface Origin {
  readonly secure: boolean;
  /** With the zone of an address that is valid on one link only: `fe80::1%eth0`. */
  readonly host: string;
  readonly port: number;
  /** As a request names it: without the zone, which means something on this machine only. */
  readonly authority: string;
}

/** Takes `http://host:port` apart; a zone may be written `%eth0`, or `%25eth0` as in URLs. */
export function readOrigin(origin: string): Origin {
  const [, zone] = /%(?:25)?([^\]]+)\]/.exec(origin) ?? [];
  const { protocol, hostname, host, port } = new URL(origin.replace(/%[^\]]+(?=\])/, ""));
  const secure = protocol === "https:";
  const bare = hostname.replace(/^\[|\]$/g, "");
  return {
    secure,
    host: zone === undefined ? bare : `${bare}%${zone}`,
    port: Number(port || (secure ? 443 : 80)),
    authority: host,
  };
}

/**
 * The socket to a server, which is ours to destroy: an HTTP/2 session that made its own would on Bun
 * only ask a server that no longer reads to close it, and the process would not end. It keeps no process
 * alive: the core's alarms do, while something is asked, waited for or held.
 */
export function dial(origin: string, { servername, ...pems }: Credentials): Socket {
  const { secure, host, port } = readOrigin(origin);
  const to = { host, port, noDelay: true };
  const name = servername ?? (isIP(host) ? undefined : host);
  const socket = secure
    ? connectTls({ ...to, ...pems, ALPNProtocols: ["h2"], ...(name !== undefined && { servername: name }) })
    : connectTcp(to);
  socket.once(secure ? "secureConnect" : "connect", () => socket.unref()); // Deno 2.7 forgets it if told before
  return socket.on("error", () => {}); // the session tells
}

/** What may be the reason that a server has not said a word of HTTP/2. */
export function hint(why: string, secure: boolean): string {
  if (!MUTE.test(why)) return why;
  return secure
    ? `${why} (is it a port without TLS? then give http:// and no tls)`
    : `${why} (is it a port with TLS? then give https://, or tls)`;
}

/** How the three runtimes put it when one side speaks TLS and the other does not. */
const MUTE =
  /closed|reset|ECONNRESET|socket hang up|not HTTP\/2|version number|InvalidContentType|protocol|EPROTO/i;
