import type { Endpoint, Query } from "./endpoint.ts";
import type { Transport } from "./sender.ts";

/**
 * What is used of a client of the npm package `consul` that is handed in: its address, agent, TLS
 * settings, headers and defaults. The requests are ours.
 */
export interface ConsulClient {
  /** These four tell a client from options. */
  readonly kv: object;
  /** See `kv`. */
  readonly session: object;
  /** See `kv`. */
  readonly transaction: object;
  /** See `kv`. */
  destroy(): void;
}

/** What a client says of its own. */
export interface Said {
  readonly at: Endpoint;
  readonly headers: Readonly<Record<string, string>>;
  readonly transport: Transport;
  readonly token: string | undefined;
  readonly query: Query;
}

/** What a client of the package `consul` keeps of its options (`papi`, which it is made of, does). */
interface Insides {
  readonly _opts?: Readonly<Record<string, unknown>> & {
    readonly baseUrl?: {
      readonly protocol: string;
      readonly hostname: string;
      readonly port?: string | number | null;
      readonly path?: string;
      readonly auth?: string | null;
    };
    readonly headers?: Readonly<Record<string, string>>;
  };
  readonly _defaults?: Query & { readonly token?: string };
}

/** Of a client's options, those that are meant for its connections. */
const CONNECTION = new Set([
  "agent",
  "createConnection",
  "family",
  "hints",
  "localAddress",
  "lookup",
  "socketPath",
  "ca",
  "cert",
  "ciphers",
  "crl",
  "ecdhCurve",
  "key",
  "passphrase",
  "pfx",
  "rejectUnauthorized",
  "secureOptions",
  "secureProtocol",
  "servername",
]);

/** Whether it is a client of the package, rather than options. */
export function isClient(target: unknown): target is ConsulClient {
  const { kv, session, transaction } = (target ?? {}) as Partial<ConsulClient>;
  return typeof kv === "object" && typeof session === "object" && typeof transaction === "object";
}

/**
 * Reads what a client says.
 *
 * @throws {TypeError} If that cannot be read.
 */
export function readClient(client: ConsulClient): Said {
  const { _opts: options, _defaults: defaults = {} } = client as Insides;
  const url = options?.baseUrl;
  if (url === undefined) throw new TypeError('Expected a client of "consul" 2, whose address can be read');
  const secure = url.protocol === "https:";
  return {
    at: {
      secure,
      host: url.hostname,
      port: Number(url.port) || (secure ? 443 : 80), // as the client itself does
      path: (url.path ?? "").replace(/\/v1$/, ""),
      auth: url.auth ?? undefined,
    },
    headers: { ...options?.headers },
    transport: Object.fromEntries(
      Object.entries(options ?? {}).filter(([name, value]) => CONNECTION.has(name) && value !== undefined),
    ),
    token: defaults.token,
    query: defaults,
  };
}
