import { isIPv6 } from "node:net";
import type { NatMap } from "ioredis";
import { checkKinds, checkPort, type Kinds } from "../../internal/checks.ts";
import type { RedisEndpoint, RedisNode, RedisServerOptions } from "./address.ts";

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

/** ioredis writes into what it gets from here. */
export function translation(natMap: NonNullable<RedisServerOptions["natMap"]>): NatMap {
  if (typeof natMap === "function") {
    return (address) => {
      const at = natMap(address);
      return at ? { ...at } : null;
    };
  }
  const known = new Map(
    Object.entries(natMap).map(([address, at]) => [address, endpoint("the `natMap`", at, true)]),
  );
  return (address) => known.has(address) ? { ...known.get(address)! } : null;
}

/** An endpoint as people write it. */
export function written({ host, port }: RedisEndpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
