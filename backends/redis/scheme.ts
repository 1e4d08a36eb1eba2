import type { Scheme, Setting, Settings, StoreUrl } from "../shared/scheme.ts";
import { checkTls, readPems, TLS_SETTINGS } from "../shared/tls.ts";
import { hostsOf, pathOf, pick, queryOf } from "../shared/url.ts";
import { destination } from "./client/destination.ts";
import { checkRememberFor, type RedisServerOptions, type RedisTls, type Said } from "./client/options.ts";
import { parse } from "./client/url.ts";
import { REDIS_TRAITS } from "./traits.ts";

/** What a server is told, whoever it belongs to. */
export const SERVER_SETTINGS: Readonly<Record<string, Setting>> = {
  db: { kind: "number", says: "the number of the database", otherwise: "0" },
  family: { kind: "number", says: "of the addresses behind a name: 4, 6, or 0 for both", otherwise: "0" },
  protocol: { kind: "number", says: "RESP: 2 or 3", otherwise: "3, or 2 where the server knows no other" },
  connectTimeout: { kind: "number", says: "milliseconds", otherwise: "5000" },
  tls: { kind: "flag", says: "whether to speak TLS, if the scheme does not say so", otherwise: "false" },
  ...TLS_SETTINGS,
  passphrase: { kind: "secret", says: "what decrypts the `key`" },
  rejectUnauthorized: { kind: "flag", says: "false trusts every certificate", otherwise: "true" },
};

const SETTINGS: Readonly<Record<string, Setting>> = {
  ...SERVER_SETTINGS,
  rememberFor: {
    kind: "number",
    says: "milliseconds for which the last token of a key is remembered",
    otherwise: "300000",
  },
};

/** Other names of what a URL says. */
export const HINTS: Readonly<Record<string, string>> = {
  password: "it stands before the host, as in redis://user:password@host",
  username: "it stands before the host, as in redis://user:password@host",
  ssl: "write rediss:",
};

/** `redis://user:password@host:6379/0`, as `redis()` reads it. */
export const redisScheme: Scheme = {
  names: ["redis", "rediss", "valkey", "valkeys"],
  title: "Redis, one server",
  example: "redis://user:password@host:6379/0",
  settings: SETTINGS,
  hints: HINTS,
  read(url) {
    const [host, ...others] = hostsOf(url, 6379);
    if (others.length > 0) {
      throw new TypeError(
        `Cannot use several hosts in a ${url.scheme} URL: write redis+sentinel:, redis+cluster: or redlock:`,
      );
    }
    return opening(url, serverAt(url, host!));
  },
};

/** `redis+sentinel://user:password@host1:26379,host2:26379/name/0`: user and password are the master's. */
export const sentinelScheme: Scheme = {
  names: ["redis+sentinel", "rediss+sentinel", "valkey+sentinel", "valkeys+sentinel"],
  title: "Redis, the master that Sentinels name",
  example: "redis+sentinel://user:password@host1:26379,host2:26379/name/0",
  settings: {
    ...SETTINGS,
    sentinelUsername: { kind: "text", says: "the user at the Sentinels themselves" },
    sentinelPassword: { kind: "secret", says: "the password at the Sentinels themselves" },
    sentinelTLS: {
      kind: "flag",
      says: "whether to speak TLS to the Sentinels",
      otherwise: "as to the master",
    },
  },
  hints: { ...HINTS, name: "it is the path, as in redis+sentinel://host/name" },
  read(url) {
    const sentinels = hostsOf(url, 26379).map((at) => {
      const { host, port } = parse(`redis://${at}`);
      return { host: host!, port: port! };
    });
    const [, name, db = ""] = /^\/([^/]+)(\/\d*)?$/.exec(pathOf(url)) ?? [];
    if (name === undefined) {
      throw new TypeError(
        `Cannot read the ${url.scheme} URL: the name of the master is expected after the hosts, as in /name`,
      );
    }
    const { host: _, port: __, ...master } = serverAt(url, "master:6379", db);
    const { sentinelTLS = master.tls !== undefined, ...settings } = url.settings;
    if (sentinelTLS && master.tls === undefined) {
      throw new TypeError(
        `Cannot use "sentinelTLS" of the ${url.scheme} URL without TLS: write rediss+sentinel:`,
      );
    }
    return opening(url, {
      ...master,
      sentinels,
      name,
      ...pick(settings, ["sentinelUsername", "sentinelPassword"]),
      ...(sentinelTLS && { sentinelTLS: master.tls }),
    });
  },
};

/** `redis+cluster://user:password@host1:6379,host2:6379`. */
export const clusterScheme: Scheme = {
  names: ["redis+cluster", "rediss+cluster", "valkey+cluster", "valkeys+cluster"],
  title: "Redis Cluster, by some of its nodes",
  example: "redis+cluster://user:password@host1:6379,host2:6379",
  settings: SETTINGS,
  hints: HINTS,
  read(url) {
    const nodes = hostsOf(url, 6379).map((at) => serverAt(url, at));
    const { host: _, port: __, ...shared } = nodes[0]!;
    const cluster = nodes.map(({ host, port }) => ({ host: host!, port: port! }));
    return opening(url, { ...shared, cluster });
  },
};

/** What a URL says of one of its hosts. */
export function serverAt(url: StoreUrl, host: string, path: string = url.path): RedisServerOptions {
  const query = queryOf(url.settings, ["db", "family", "protocol", "tls"]);
  const tls = /^(redis|valkey|redlock)s/.test(url.scheme);
  const said: Said = parse(`${tls ? "rediss" : "redis"}://${url.userinfo}${host}${path}${query}`);
  checkTls(url, said.tls !== undefined, url.scheme.replace(/^(redis|valkey|redlock)/, "$1s"));
  return {
    ...said,
    ...pick(url.settings, ["connectTimeout"]),
    ...(said.tls && { tls: pick(url.settings, ["servername", "passphrase", "rejectUnauthorized"]) }),
  };
}

/** The same server, with the certificates that are in files. */
export async function withPems(server: RedisServerOptions, settings: Settings): Promise<RedisServerOptions> {
  const { tls, sentinelTLS } = server;
  if (tls === undefined) return server;
  const all: RedisTls = { ...tls, ...await readPems(settings) };
  return { ...server, tls: all, ...(sentinelTLS && { sentinelTLS: all }) };
}

function opening(url: StoreUrl, server: RedisServerOptions): ReturnType<Scheme["read"]> {
  const options: { rememberFor?: number } = pick(url.settings, ["rememberFor"]);
  destination(server);
  if (options.rememberFor !== undefined) checkRememberFor(options.rememberFor);
  return {
    name: "redis",
    traits: REDIS_TRAITS,
    given: [server, options],
    async load() {
      const [{ redis }, address] = await Promise.all([import("../redis.ts"), withPems(server, url.settings)]);
      return redis(address, options);
    },
    async *examine(checkup) {
      const [{ examine }, address] = await Promise.all([
        import("./doctor.ts"),
        withPems(server, url.settings),
      ]);
      yield* examine(address, checkup);
    },
  };
}
