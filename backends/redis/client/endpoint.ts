import { isIPv6 } from "node:net";
import { checkKinds, checkPort, type Kinds } from "../../../internal/checks.ts";

/** A host and a port. */
export interface RedisEndpoint {
  /** Name or address. */
  readonly host: string;
  /** TCP. */
  readonly port: number;
}

/** A node of a Cluster, or the server behind an address of its own. */
export interface RedisNode extends RedisEndpoint {
  /** The name that its certificate must bear. @default {`tls.servername`, or the host} */
  readonly servername?: string;
}

/** Checks a name or an address, which may be one of IPv6 in brackets. A whole URL there may hold a password. */
export function checkHost(of: string, host: string): string {
  if (host === "") throw new TypeError(`Expected ${of} to have a "host", got an empty one`);
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  if (!/[\s/@?#[\]]/.test(bare) && (!bare.includes(":") || isIPv6(bare))) return bare;
  throw new TypeError(`Expected "host" of ${of} to be a name or an address alone, without port or URL`);
}

/** Checks a host and a port. */
export function endpoint<E extends RedisNode>(of: string, one: E, named = false): E {
  const kinds: Kinds<RedisEndpoint> = { host: ["string"], port: ["number"] };
  checkKinds(of, one, named ? { ...kinds, servername: ["string"] } : kinds as Kinds<RedisNode>);
  if (!one.host) throw new TypeError(`Expected ${of} to have a "host"`);
  checkPort(of, one.port);
  return { ...one, host: checkHost(of, one.host) };
}

/** An endpoint as people write it. */
export function written({ host, port }: RedisEndpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
