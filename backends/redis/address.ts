import type { ClusterNode, ClusterOptions, RedisOptions } from "ioredis";
import { checkKinds, checkPort, isObject, type Kinds } from "../../internal/checks.ts";
import type { ClusterAddress } from "./cluster_link.ts";

/** A host and a port. */
export interface RedisEndpoint {
  /** Name or address. */
  readonly host: string;
  /** TCP. */
  readonly port: number;
}

/** How to speak TLS; what `node:tls` calls so. */
export interface RedisTls {
  /** PEM of the authorities to trust, instead of those of the machine. */
  readonly ca?: string | Uint8Array | (string | Uint8Array)[];
  /** PEM of a certificate of our own. */
  readonly cert?: string | Uint8Array;
  /** PEM of its key. */
  readonly key?: string | Uint8Array;
  /** What decrypts the key. */
  readonly passphrase?: string;
  /** The name that the server's certificate must bear. @default {the host} */
  readonly servername?: string;
  /** `false` trusts anybody. @default {true} */
  readonly rejectUnauthorized?: boolean;
}

/** Where Redis is and how to log in: one server, a master that Sentinels name, or a Cluster. */
export interface RedisServerOptions {
  /** Name or address. @default {"127.0.0.1"} */
  readonly host?: string;
  /** TCP. @default {6379} */
  readonly port?: number;
  /** A Unix socket, instead of host and port. */
  readonly path?: string;
  /** An ACL user. */
  readonly username?: string;
  /** Its password, or that of the server. */
  readonly password?: string;
  /** Number of the database. @default {0} */
  readonly db?: number;
  /** Speak TLS. @default {plain TCP} */
  readonly tls?: RedisTls;
  /** Milliseconds. @default {5_000} */
  readonly connectTimeout?: number;
  /** RESP; 2 costs a second connection. @default {3, or 2 where the server knows no other} */
  readonly protocol?: 2 | 3;
  /** Sentinels, some or all: they know each other. The rest of the options is for the master. */
  readonly sentinels?: readonly RedisEndpoint[];
  /** The name by which the Sentinels know the master. */
  readonly name?: string;
  /** For the Sentinels themselves. */
  readonly sentinelUsername?: string;
  /** For the Sentinels themselves. */
  readonly sentinelPassword?: string;
  /** For the Sentinels themselves. */
  readonly sentinelTLS?: RedisTls;
  /** Nodes of a Cluster, some or all: they know each other. The rest of the options is for every node. */
  readonly cluster?: readonly (string | RedisEndpoint)[];
  /** What servers call themselves ("10.0.0.1:6379"), and where they are for us, behind address translation. */
  readonly natMap?: Readonly<Record<string, RedisEndpoint>>;
}

/** `redis://user:password@host:port/db`, `rediss:` for TLS; or options. */
export type RedisAddress = string | RedisServerOptions;

/** What to open for an address. */
export type Destination = { readonly server: RedisOptions } | { readonly cluster: ClusterAddress };

/**
 * Reads an address.
 *
 * @throws {TypeError | RangeError} If it is none. The message does not repeat it, since it may hold a
 * password.
 */
export function destination(address: RedisAddress): Destination {
  if (typeof address === "string") return { server: parse(address) };
  if (!isObject(address)) {
    throw new TypeError("Cannot use this as a Redis address: give a URL, options, a client or a locator");
  }
  checkKinds("a Redis address", address, KINDS);
  if (address.port !== undefined) checkPort("a Redis server", address.port);
  const { cluster, natMap, ...rest } = address;
  for (const sentinel of rest.sentinels ?? []) endpoint("a Sentinel", sentinel);
  const node = rest as RedisOptions;
  if (cluster === undefined) return { server: { ...node, ...(natMap && { natMap: { ...natMap } }) } };
  if (node.sentinels) throw new TypeError("Cannot use `cluster` and `sentinels` together: give one of them");
  if (cluster.length === 0) throw new TypeError("Cannot use a `cluster` without nodes: name at least one");
  const parsed = cluster.map((one) => typeof one === "string" ? parse(one) : endpoint("a Cluster node", one));
  const nodes: ClusterNode[] = parsed.map(({ host, port }) => ({ host, port }));
  const options: ClusterOptions = natMap ? { natMap: { ...natMap } } : {};
  return { cluster: { nodes, node: { ...credentials(parsed[0]!), ...node }, options } };
}

const KINDS: Kinds<RedisServerOptions> = {
  host: ["string"],
  port: ["number"],
  path: ["string"],
  username: ["string"],
  password: ["string"],
  db: ["number"],
  tls: ["object"],
  connectTimeout: ["number"],
  protocol: ["number"],
  sentinels: ["array"],
  name: ["string"],
  sentinelUsername: ["string"],
  sentinelPassword: ["string"],
  sentinelTLS: ["object"],
  cluster: ["array"],
  natMap: ["object"],
};

/** Checks a host and a port. */
function endpoint(of: string, one: RedisEndpoint): RedisEndpoint {
  checkKinds(of, one, { host: ["string"], port: ["number"] });
  if (!one.host) throw new TypeError(`Expected ${of} to have a "host"`);
  checkPort(of, one.port);
  return one;
}

/** What a node's URL says about all of them. */
function credentials({ host: _host, port: _port, db: _db, ...rest }: RedisOptions): RedisOptions {
  return rest;
}

/** Which server that is, for messages: without credentials. */
export function place(to: Destination): string {
  const { host, port, path, sentinels, name } = "server" in to ? to.server : to.cluster.node;
  if ("cluster" in to) {
    return to.cluster.nodes.map((node) => typeof node === "object" ? `${node.host}:${node.port}` : `${node}`)
      .join();
  }
  if (sentinels) return `${name} of ${sentinels.map((one) => `${one.host}:${one.port}`).join()}`;
  return path ?? `${host ?? "127.0.0.1"}:${port ?? 6379}`;
}

function parse(url: string): RedisOptions {
  let parts: URL;
  try {
    parts = new URL(url);
  } catch {
    throw new TypeError("Cannot read the Redis URL: redis://user:password@host:port/db is expected");
  }
  const { protocol, hostname, port, username, password, pathname } = parts;
  if (protocol !== "redis:" && protocol !== "rediss:") {
    throw new TypeError(`Cannot use a ${protocol} URL for Redis: redis: or rediss: is expected`);
  }
  const db = pathname.slice(1);
  if (!/^\d*$/.test(db)) {
    throw new TypeError("Cannot read the database of the Redis URL: a number is expected after the slash");
  }
  return {
    host: hostname.replace(/^\[|\]$/g, "") || "127.0.0.1",
    port: checkPort("a Redis server", Number(port || 6379)),
    ...(username && { username: decodeURIComponent(username) }),
    ...(password && { password: decodeURIComponent(password) }),
    ...(db && { db: Number(db) }),
    ...(protocol === "rediss:" && { tls: {} }),
  };
}
