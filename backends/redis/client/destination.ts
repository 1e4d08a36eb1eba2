import type { ClusterNode, NatMap, RedisOptions } from "ioredis";
import { checkKinds, isObject, type Kinds } from "../../../internal/checks.ts";
import type { ClusterAddress } from "./cluster_link.ts";
import { endpoint, type RedisEndpoint, written } from "./endpoint.ts";
import {
  nowhere,
  type OptionName,
  type RedisServerOptions,
  type Said,
  serverOptions,
  together,
} from "./options.ts";
import { parse } from "./url.ts";

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
    return { server: serverOptions(parse(address)) };
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
  const node: RedisOptions = {
    ...serverOptions(rest as Said),
    ...(natMap && { natMap: translation(natMap) }),
  };
  if (cluster !== undefined) return { cluster: clusterAddress(cluster, node, dnsLookup) };
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

/** What is said of every node, as far as it must not be said in two ways. */
const SHARED = ["username", "password", "db", "family", "protocol"] as const;

/**
 * Puts together what the URLs of the nodes and the options say.
 *
 * @throws {TypeError | RangeError} If that is no Cluster, or one says this and another that.
 */
function clusterAddress(
  cluster: NonNullable<RedisServerOptions["cluster"]>,
  { natMap, ...node }: RedisOptions,
  dnsLookup: RedisServerOptions["dnsLookup"],
): ClusterAddress {
  if (cluster.length === 0) throw new TypeError("Cannot use a `cluster` without nodes: name at least one");
  const urls: RedisOptions[] = [];
  const nodes = cluster.map((one): ClusterNode => {
    if (typeof one !== "string") return endpoint("a Cluster node", one, true);
    const url = serverOptions(parse(one));
    if (url.path) throw new TypeError("Cannot use a socket as a node of a `cluster`: give host and port");
    urls.push(url);
    return { host: url.host, port: url.port };
  });
  const said = [...urls, node];
  const tls = said.find((one) => one.tls)?.tls;
  if (tls && urls.some((url) => !url.tls)) {
    throw new TypeError("Cannot use a `cluster` with TLS and without: write rediss: in all its URLs");
  }
  const shared: RedisOptions = { ...node, ...(tls && { tls: node.tls ?? tls }) };
  for (const name of SHARED) {
    const values = new Set(said.map((one) => one[name]).filter((value) => value !== undefined));
    if (values.size > 1) throw new TypeError(`Cannot use a \`cluster\` whose nodes differ in their ${name}`);
    if (values.size === 1) Object.assign(shared, { [name]: [...values][0] });
  }
  if (shared.db) throw new TypeError("Cannot use a `db` of a Cluster: it has only database 0; use `prefix`");
  return { nodes, node: shared, options: { ...(natMap && { natMap }), ...(dnsLookup && { dnsLookup }) } };
}

/** ioredis writes into what it gets from here. */
function translation(natMap: NonNullable<RedisServerOptions["natMap"]>): NatMap {
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

function defined(address: RedisServerOptions): RedisServerOptions {
  return Object.fromEntries(Object.entries(address).filter(([, value]) => value !== undefined));
}

/** Which server that is, for messages: without credentials. */
export function place(to: Destination): string {
  if ("cluster" in to) return to.cluster.nodes.map((node) => written(node as RedisEndpoint)).join();
  const { host = "127.0.0.1", port = 6379, path, sentinels, name } = to.server;
  if (sentinels) return `${name} of ${sentinels.map((one) => written(one as RedisEndpoint)).join()}`;
  return path ?? written({ host, port });
}
