import type { Duplex } from "node:stream";
import type { ConnectionOptions } from "node:tls";
import type { Address, SslMode } from "./options.ts";

/** What the package `postgres` has made of its options, as far as it is used. */
interface TheirOptions {
  readonly host: readonly string[];
  readonly port: readonly number[];
  readonly path?: string | false;
  readonly database: string;
  readonly user: string;
  readonly pass?: string | (() => string | Promise<string>);
  readonly ssl?: boolean | string | ConnectionOptions;
  readonly sslnegotiation?: string | null;
  readonly connection?: Readonly<Record<string, unknown>>;
  readonly transform?: { readonly row?: { readonly from?: unknown } };
  readonly socket?: (options: unknown) => Duplex | Promise<Duplex>;
}

/** A client of the package. */
export interface TheirPostgres {
  readonly options: TheirOptions;
}

/** What the package does about TLS where it is told so in a word. */
const MODES: Readonly<Record<string, SslMode>> = {
  allow: "require",
  prefer: "prefer",
  require: "require",
};

/** The address that a client of the package `postgres` has, for connections like its own. */
export function addressLike(options: TheirOptions): Address {
  const { host, port, path, ssl, socket, pass } = options;
  const given = typeof ssl === "object" && ssl !== null ? ssl : undefined;
  return {
    hosts: path ? [socketOf(path)] : host.map((host, at) => ({ host, port: port[at] ?? port[0]! })),
    database: options.database,
    user: options.user,
    password: pass === "" ? undefined : pass,
    mode: given ? "require" : ssl ? MODES[`${ssl}`] ?? "verify-full" : "disable",
    tls: {},
    files: {},
    isDirect: options.sslnegotiation === "direct",
    ...(given && { asTheirs: given }),
    ...(socket && { socket: async () => await socket(options) }),
    parameters: Object.fromEntries(
      Object.entries(options.connection ?? {}).flatMap(([name, value]) => value ? [[name, `${value}`]] : []),
    ),
    connectTimeout: Infinity,
  };
}

function socketOf(path: string): { host: string; port: number } {
  const [, folder = path, port] = /^(.*)\/\.s\.PGSQL\.(\d+)$/.exec(path) ?? [];
  return { host: folder, port: Number(port) };
}
