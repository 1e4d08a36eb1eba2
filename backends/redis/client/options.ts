import type { RedisOptions } from "ioredis";
import { checkKinds, checkPort, type Kinds } from "../../../internal/checks.ts";
import { checkHost, type RedisEndpoint, type RedisNode } from "./endpoint.ts";

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
  /** `false` trusts every certificate. @default {true} */
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

/** What a URL says of a server, in the words of the options. */
export type Said = Pick<
  RedisServerOptions,
  "host" | "port" | "path" | "username" | "password" | "db" | "family" | "protocol" | "tls"
>;

const TLS_KINDS: Kinds<RedisTls> = {
  ca: ["string", "object", "array"],
  cert: ["string", "object"],
  key: ["string", "object"],
  passphrase: ["string"],
  servername: ["string"],
  rejectUnauthorized: ["boolean"],
};

/** The name of an option. */
export type OptionName = keyof RedisServerOptions;

/** Checks the options of one server, or of each. */
export function serverOptions(
  said: Said & Pick<RedisServerOptions, "connectTimeout" | "sentinelTLS">,
): RedisOptions {
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

/** Checks for how long a token is remembered. */
export function checkRememberFor(rememberFor: number): void {
  if (rememberFor >= 1_000 && rememberFor <= 31_536_000_000) return;
  throw new RangeError(
    `Cannot use rememberFor ${rememberFor}: milliseconds from 1000 to 31536000000 (a year) are expected`,
  );
}

function within(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`Expected "${name}" of a Redis address to be ${least} to ${most}, got ${value}`);
}

/** Nothing says where Redis is. */
export function nowhere(what: string): TypeError {
  return new TypeError(
    `Cannot use ${what} as a Redis address: is a variable of the environment not set? ` +
      "Give a URL, options, a client or a locator",
  );
}

/** Refuses an option beside others that say otherwise. */
export function together(given: object, name: string, others: readonly OptionName[]): void {
  const other = others.find((other) => other in given);
  if (!(name in given) || other === undefined) return;
  throw new TypeError(
    `Cannot use \`${name}\` and \`${other}\` of a Redis address together: give one of them`,
  );
}
