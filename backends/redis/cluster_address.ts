import type { ClusterNode, RedisOptions } from "ioredis";
import type { RedisServerOptions } from "./address.ts";
import type { ClusterAddress } from "./cluster_link.ts";
import { endpoint } from "./endpoints.ts";

/** What is said of every node, as far as it must not be said in two ways. */
const SHARED = ["username", "password", "db", "family", "protocol"] as const;

/**
 * Puts together what the URLs of the nodes and the options say.
 *
 * @throws {TypeError | RangeError} If that is no Cluster, or one says this and another that.
 */
export function clusterAddress(
  cluster: NonNullable<RedisServerOptions["cluster"]>,
  { natMap, ...node }: RedisOptions,
  dnsLookup: RedisServerOptions["dnsLookup"],
  read: (url: string) => RedisOptions,
): ClusterAddress {
  if (cluster.length === 0) throw new TypeError("Cannot use a `cluster` without nodes: name at least one");
  const urls: RedisOptions[] = [];
  const nodes = cluster.map((one): ClusterNode => {
    if (typeof one !== "string") return endpoint("a Cluster node", one, true);
    const url = read(one);
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
