import type { RedisOptions } from "ioredis";
import { checkKinds, checkPort, isObject, type Kinds } from "../../internal/checks.ts";
import { clusterAddress } from "./cluster_address.ts";
import type { ClusterAddress } from "./cluster_link.ts";
import { checkHost, endpoint, translation, written } from "./endpoints.ts";
import { parse, type Said } from "./url.ts";

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
  /** Number of the database; a Cluster has only the first. @default {0} */
  readonly db?: number;
  /** Speak TLS. @default {plain TCP} */
  readonly tls?: RedisTls;
  /** Milliseconds. @default {5_000} */
  readonly connectTimeout?: number;
  /** Of the addresses behind a name: 4 for IPv4 only, 6 for IPv6 only. @default {0: both} */
  readonly family?: 0 | 4 | 6;
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
  /**
   * Nodes of a Cluster, some or all: they know each other. What a URL or the rest of the options says is
   * for every node. With TLS a node that the others know by its address alone may show a certificate for
   * any of the names given here.
   */
  readonly cluster?: readonly (string | RedisNode)[];
  /** What servers call themselves ("10.0.0.1:6379"), and where they are for us, behind address translation. */
  readonly natMap?: Readonly<Record<string, RedisNode>> | ((address: string) => RedisNode | null | undefined);
  /** How the names in `cluster` are looked up, as in `ioredis`. @default {by the operating system} */
  readonly dnsLookup?: (
    name: string,
    callback: (error: Error | null | undefined, address: string, family?: number) => void,
  ) => void;
}

/**
 * `redis://user:password@host:port/db` or `valkey:`; `rediss:` or `valkeys:` for TLS; `unix:///path?db=3`;
 * with the parameters `db`, `tls`, `family` and `protocol`. Or options.
 */
export type RedisAddress = string | URL | RedisServerOptions;

/** What to open for an address. */
export type Destination = { readonly server: RedisOptions } | { readonly cluster: ClusterAddress };

/**
 * Reads an address.
 *
 * @throws {TypeError | RangeError} If it is none. The message does not repeat it, since it may hold a
 * password.
 */
export function destination(address: RedisAddress): Destination {
  if (typeof address === "string") {
    if (address.trim() === "") throw nowhere("an empty string");
    return { server: options(parse(address)) };
  }
  if (address === undefined || address === null) throw nowhere(`${address}`);
  if (address instanceof URL) return destination(address.href);
  if (!isObject(address)) {
    throw new TypeError("Cannot use this as a Redis address: give a URL, options, a client or a locator");
  }
  checkKinds("a Redis address", address, KINDS);
  const given = defined(address);
  if (PLACES.every((name) => given[name] === undefined) && PLACES.some((name) => name in address)) {
    throw nowhere(`options whose "${PLACES.find((name) => name in address)}" is undefined`);
  }
  for (const [name, others] of Object.entries(EXCLUDES)) together(given, name, others);
  for (const [name, needed] of Object.entries(NEEDS)) {
    if (!(name in given) || needed.some((other) => other in given)) continue;
    throw new TypeError(`Cannot use "${name}" of a Redis address without "${needed.join('" or "')}"`);
  }
  const { cluster, sentinels, natMap, dnsLookup, ...rest } = given;
  const node: RedisOptions = { ...options(rest as Said), ...(natMap && { natMap: translation(natMap) }) };
  if (cluster !== undefined) {
    return { cluster: clusterAddress(cluster, node, dnsLookup, (url) => options(parse(url))) };
  }
  if (sentinels === undefined) return { server: node };
  if (sentinels.length === 0) throw new TypeError("Cannot use `sentinels` without any: name at least one");
  if (!given.name) throw new TypeError('Cannot use "sentinels" without the "name" of the master');
  const found = sentinels.map((one) => endpoint("a Sentinel", one));
  // Else ioredis would speak plain TCP to the master.
  return { server: { ...node, sentinels: found, enableTLSForSentinelMode: node.tls !== undefined } };
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
  family: ["number"],
  protocol: ["number"],
  sentinels: ["array"],
  name: ["string"],
  sentinelUsername: ["string"],
  sentinelPassword: ["string"],
  sentinelTLS: ["object"],
  cluster: ["array"],
  natMap: ["object", "function"],
  dnsLookup: ["function"],
};

const TLS_KINDS: Kinds<RedisTls> = {
  ca: ["string", "object", "array"],
  cert: ["string", "object"],
  key: ["string", "object"],
  passphrase: ["string"],
  servername: ["string"],
  rejectUnauthorized: ["boolean"],
};

type OptionName = keyof RedisServerOptions;

/** What says where Redis is. */
const PLACES: readonly OptionName[] = ["host", "port", "path", "sentinels", "cluster"];

/** Options that say otherwise than others. */
const EXCLUDES: Readonly<Record<string, readonly OptionName[]>> = {
  cluster: ["host", "port", "path", "sentinels"],
  sentinels: ["host", "port", "path"],
};

/** Options that say nothing without one of others. */
const NEEDS: Readonly<Record<string, readonly OptionName[]>> = {
  name: ["sentinels"],
  sentinelUsername: ["sentinels"],
  sentinelPassword: ["sentinels"],
  sentinelTLS: ["sentinels"],
  natMap: ["sentinels", "cluster"],
  dnsLookup: ["cluster"],
};

function nowhere(what: string): TypeError {
  return new TypeError(
    `Cannot use ${what} as a Redis address: is a variable of the environment not set? ` +
      "Give a URL, options, a client or a locator",
  );
}

function defined(address: RedisServerOptions): RedisServerOptions {
  return Object.fromEntries(Object.entries(address).filter(([, value]) => value !== undefined));
}

function together(given: object, name: string, others: readonly OptionName[]): void {
  const other = others.find((other) => other in given);
  if (!(name in given) || other === undefined) return;
  throw new TypeError(
    `Cannot use \`${name}\` and \`${other}\` of a Redis address together: give one of them`,
  );
}

/** Checks the options of one server, or of each. */
function options(said: Said & Pick<RedisServerOptions, "connectTimeout" | "sentinelTLS">): RedisOptions {
  const { host, port, path, db, connectTimeout, family, protocol, tls, sentinelTLS } = said;
  if (path === "") throw nowhere("an empty path");
  together(said, "path", ["host", "port", "tls", "family"]);
  if (port !== undefined) checkPort("a Redis server", port);
  within("db", db, 0, 2 ** 31 - 1);
  within("connectTimeout", connectTimeout, 1, 2 ** 31 - 1);
  if (protocol !== undefined) within("protocol", protocol, 2, 3);
  if (family !== undefined && ![0, 4, 6].includes(family)) {
    throw new RangeError('Expected "family" of a Redis address to be 0, 4 or 6');
  }
  if (tls !== undefined) checkKinds("`tls` of a Redis address", tls, TLS_KINDS);
  if (sentinelTLS !== undefined) checkKinds("`sentinelTLS` of a Redis address", sentinelTLS, TLS_KINDS);
  const rest = said as RedisOptions;
  return host === undefined ? rest : { ...rest, host: checkHost("a Redis address", host) };
}

function within(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`Expected "${name}" of a Redis address to be ${least} to ${most}, got ${value}`);
}

/** Which server that is, for messages: without credentials. */
export function place(to: Destination): string {
  if ("cluster" in to) return to.cluster.nodes.map((node) => written(node as RedisEndpoint)).join();
  const { host = "127.0.0.1", port = 6379, path, sentinels, name } = to.server;
  if (sentinels) return `${name} of ${sentinels.map((one) => written(one as RedisEndpoint)).join()}`;
  return path ?? written({ host, port });
}
