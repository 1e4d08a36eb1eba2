import { isIPv6 } from "node:net";
import type { Duplex } from "node:stream";
import type { ConnectionOptions } from "node:tls";
import { userInfo } from "node:os";
import { checkKinds, checkPort, isObject, type Kinds } from "../../../internal/checks.ts";

/** Whether TLS is spoken, and what of the server's certificate is checked; as libpq's parameter of this name. */
export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

/** How to speak TLS; what `node:tls` calls so. */
export interface PostgresTls {
  /** PEM of the authorities to trust, instead of those of the runtime. */
  readonly ca?: string | Uint8Array | (string | Uint8Array)[];
  /** PEM of a certificate of our own. */
  readonly cert?: string | Uint8Array;
  /** PEM of its key. */
  readonly key?: string | Uint8Array;
  /** What decrypts the key. */
  readonly passphrase?: string;
  /** The name that the server's certificate must bear. @default {the host} */
  readonly servername?: string;
}

/** A server, one of several. */
export interface PostgresHost {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  /** TCP. @default {5432} */
  readonly port?: number;
}

/** Where Postgres is and how to log in. Nothing of it is taken from the environment. */
export interface PostgresOptions {
  /** A name, an address, or the folder of a Unix socket. @default {"127.0.0.1"} */
  readonly host?: string;
  /** TCP, or the number of the Unix socket. @default {5432} */
  readonly port?: number;
  /** Instead of `host` and `port`: the servers of a cluster, of which the one is used that can be written to. */
  readonly hosts?: readonly PostgresHost[];
  /** Name of the database. @default {the name of the user} */
  readonly database?: string;
  /** A role that may log in. @default {the user of the operating system} */
  readonly user?: string;
  /** Its password, or what is asked for one at each connection. */
  readonly password?: string | (() => string | Promise<string>);
  /** Whether to speak TLS, and what to check. @default {"prefer", or "verify-full" where `tls` is given} */
  readonly sslmode?: SslMode;
  /** Certificates and names for TLS. */
  readonly tls?: PostgresTls;
  /** What the server shows as the name of the connection. @default {"holdfast"} */
  readonly applicationName?: string;
  /** Settings of the server for the connection, as libpq's parameter of this name: `-c work_mem=1MB`. */
  readonly options?: string;
}

/** What a URL says of TLS, and options need not: they have `tls`. */
export interface Files {
  /** A path, or "system" for the authorities of the runtime. */
  readonly sslrootcert?: string;
  /** A path. */
  readonly sslcert?: string;
  /** A path. */
  readonly sslkey?: string;
}

/** What a URL says, in the words of the options. */
export interface Said extends PostgresOptions, Files {
  /** Seconds, for each host. */
  readonly connectTimeout?: number;
  /** How TLS begins. */
  readonly sslnegotiation?: "postgres" | "direct";
}

/** A server that was read. */
export type Host = Required<PostgresHost>;

/** An address that was read. */
export interface Address {
  readonly hosts: readonly Host[];
  readonly database: string;
  readonly user: string;
  readonly password: PostgresOptions["password"];
  readonly mode: SslMode;
  readonly tls: PostgresTls;
  readonly files: Files;
  /** Options for `node:tls` that stand for themselves. */
  readonly asTheirs?: ConnectionOptions;
  /** Whether TLS is spoken without asking the server for it first. */
  readonly isDirect: boolean;
  /** Connects, instead of what is done with the hosts. */
  readonly socket?: () => Promise<Duplex>;
  /** Settings for the server. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Milliseconds, for each host. */
  readonly connectTimeout: number;
}

/** What `sslmode` may be. */
export const MODES: readonly SslMode[] = [
  "disable",
  "allow",
  "prefer",
  "require",
  "verify-ca",
  "verify-full",
];

const KINDS: Kinds<PostgresOptions> = {
  host: ["string"],
  port: ["number"],
  hosts: ["array"],
  database: ["string"],
  user: ["string"],
  password: ["string", "function"],
  sslmode: ["string"],
  tls: ["object"],
  applicationName: ["string"],
  options: ["string"],
};

const TLS_KINDS: Kinds<PostgresTls> = {
  ca: ["string", "object", "array"],
  cert: ["string", "object"],
  key: ["string", "object"],
  passphrase: ["string"],
  servername: ["string"],
};

/** What other clients call an option, and what it is here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  hostname: "give `host`",
  path: "give the folder of the socket as `host`",
  socket: "give the folder of the socket as `host`",
  username: "give `user`",
  pass: "give `password`",
  db: "give `database`",
  dbname: "give `database`",
  ssl: 'give sslmode: "require" or "verify-full", and certificates as `tls`',
  application_name: "give `applicationName`",
  connection: "give `applicationName` or `options`",
  connectionString: "give the URL instead of options",
  url: "give the URL instead of options",
  schema: "give it in the second argument",
  listen: "give it in the second argument",
  max: "there is one connection for calls, and one for listening",
};

/**
 * Checks options.
 *
 * @throws {TypeError | RangeError} No value is shown that may be a secret.
 */
export function checkOptions(given: unknown): Said {
  if (isObject(given)) {
    const other = Object.keys(given).find((name) => Object.hasOwn(ELSEWHERE, name));
    if (other !== undefined) {
      throw new TypeError(
        `Unknown option ${JSON.stringify(other)} of a Postgres address: ${ELSEWHERE[other]}`,
      );
    }
  }
  checkKinds("a Postgres address", given, KINDS);
  const said = Object.fromEntries(
    Object.entries(given as object).filter(([, value]) => value !== undefined),
  ) as Said;
  const PLACES = ["host", "port", "hosts"] as const;
  const unset = PLACES.find((name) => name in (given as object));
  if (unset !== undefined && PLACES.every((name) => !(name in said))) {
    throw nowhere(`options whose "${unset}" is undefined`);
  }
  if (said.hosts === undefined) return said;
  if ("host" in said || "port" in said) {
    throw new TypeError(
      "Cannot use `hosts` and `host` or `port` of a Postgres address together: give one of them",
    );
  }
  if (said.hosts.length === 0) {
    throw new TypeError("Cannot use `hosts` of a Postgres address without any: name one");
  }
  for (const host of said.hosts) {
    checkKinds<PostgresHost>("one of `hosts`", host, { host: ["string"], port: ["number"] });
    if (!host.host) throw nowhere("one of `hosts` without a `host`");
  }
  return said;
}

/** Reads what a URL or options say. */
export function addressOf(said: Said): Address {
  const { host = "127.0.0.1", port, hosts = [{ host, port }] } = said;
  const { sslrootcert, sslcert, sslkey, tls = {} } = said;
  const files = { sslrootcert, sslcert, sslkey };
  const user = said.user ?? systemUser();
  const { database = user, password, applicationName = "holdfast", options } = said;
  const texts = { user, database, applicationName, options, host: hosts.map((one) => one.host).join() };
  for (const [name, text] of Object.entries(texts)) {
    if (text?.includes("\0")) {
      throw new TypeError(`Cannot use "${name}" of a Postgres address with a NUL in it`);
    }
  }
  for (const [name, text] of [["user", user], ["database", database]] as const) {
    if (text === "") {
      throw new TypeError(`Expected "${name}" of a Postgres address to be a name, got an empty one`);
    }
  }
  return {
    hosts: hosts.map(({ host, port = 5432 }) => ({
      host: checkHost(host),
      port: checkPort("a Postgres server", port),
    })),
    database,
    user,
    password,
    mode: modeOf(said),
    tls: checkTls(tls),
    files,
    isDirect: said.sslnegotiation === "direct",
    parameters: {
      application_name: applicationName,
      ...(options && { options }),
    },
    connectTimeout: said.connectTimeout ? said.connectTimeout * 1_000 : Infinity,
  };
}

function modeOf({ sslmode, tls, sslrootcert, sslcert, sslkey, sslnegotiation }: Said): SslMode {
  if (sslmode !== undefined && !MODES.includes(sslmode)) {
    throw new TypeError(`Expected "sslmode" of a Postgres address to be ${MODES.join(", ")}`);
  }
  if ((sslcert === undefined) !== (sslkey === undefined)) {
    throw new TypeError(
      "Cannot use half of a pair of a Postgres address: give both sslcert and sslkey, or neither",
    );
  }
  const mode = sslmode ?? (tls !== undefined || sslrootcert === "system" ? "verify-full" : "prefer");
  if (sslrootcert === "system" && mode !== "verify-full") {
    throw new TypeError('Cannot use sslrootcert "system" of a Postgres address without sslmode verify-full');
  }
  if (sslnegotiation === "direct" && ["disable", "allow", "prefer"].includes(mode)) {
    throw new TypeError(
      'Cannot use sslnegotiation "direct" of a Postgres address without sslmode require or verify-full',
    );
  }
  if (mode === "disable" && tls !== undefined) {
    throw new TypeError('Cannot use `tls` of a Postgres address with sslmode "disable": give one of them');
  }
  return mode;
}

function checkTls(tls: PostgresTls): PostgresTls {
  checkKinds("`tls` of a Postgres address", tls, TLS_KINDS);
  if (tls.servername === "") {
    throw new TypeError('Expected "servername" of `tls` to be a name, got an empty one');
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new TypeError(
      "Cannot use half of a pair of a Postgres address: give both cert and key of `tls`, or neither",
    );
  }
  return Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
}

/** Checks a name or an address, which may be one of IPv6 in brackets. A whole URL there may hold a password. */
function checkHost(host: string): string {
  if (host === "") throw nowhere("an empty host");
  if (host.startsWith("/")) return host.length > 1 ? host.replace(/\/+$/, "") : host;
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  if (!/[\s/@?#[\],]/.test(bare) && (!bare.includes(":") || isIPv6(bare))) return bare;
  throw new TypeError(
    'Expected "host" of a Postgres address to be a name or an address alone, without port or URL, or a folder',
  );
}

/** Whether a host is a folder with Unix sockets in it. */
export function isPath(host: string): boolean {
  return host.startsWith("/");
}

function systemUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    throw new TypeError(
      "Cannot find out the user of the operating system for a Postgres address: give a `user`",
      { cause: error },
    );
  }
}

/** Nothing says where Postgres is. */
export function nowhere(what: string): TypeError {
  return new TypeError(
    `Cannot use ${what} as a Postgres address: is a variable of the environment not set? ` +
      "Give a URL, options, a client or a locator",
  );
}
