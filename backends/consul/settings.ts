import type { Agent } from "node:http";
import { checkKinds, type Kinds } from "../../internal/checks.ts";
import { type ConsulAddress, type ConsulLocator, type Endpoint, endpoint, queryOf } from "./address.ts";
import { isToken, type TokenSource } from "./token.ts";

/** Options of `consul()`. */
export interface ConsulOptions extends ConsulAddress {
  /** Certificate authorities to trust in place of the runtime's own, as PEM. */
  readonly ca?: string | readonly string[];
  /** Certificate to show to the agent, as PEM, where it verifies its clients. */
  readonly cert?: string;
  /** Private key of `cert`, as PEM. */
  readonly key?: string;
  /** Name that the agent's certificate must bear. @default {`host`} */
  readonly servername?: string;
  /**
   * ACL token, or a function that gives it: asked before the first request, and again whenever Consul has
   * refused the one it gave, so that a token can be replaced while locks are held.
   */
  readonly token?: string | (() => string | Promise<string>);
  /** Datacenter that keeps the locks; `?dc=` of a URL. @default {the agent's own} */
  readonly datacenter?: string;
  /** Namespace of Consul Enterprise that keeps the locks; `?ns=` of a URL. @default {that of the token} */
  readonly namespace?: string;
  /** Admin partition of Consul Enterprise; `?partition=` of a URL. @default {the agent's own} */
  readonly partition?: string;
  /** Put before every key in the KV store, for instance `"team-a/locks/"`. @default {""} */
  readonly prefix?: string;
  /**
   * Node of the catalog that sessions belong to: they end when it leaves the catalog.
   * @default {the agent's own}
   */
  readonly node?: string;
}

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

/** What `node:http` takes for a connection, and we pass on. */
export type Transport = Readonly<Record<string, unknown>> & { readonly agent?: Agent };

/** All that `consul()` was told. */
export interface Settings {
  readonly locate: () => Promise<Endpoint>;
  /** Whether that can name one agent after the other. */
  readonly several: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly token: TokenSource | undefined;
  readonly transport: Transport;
  /** Whether they are those of a client that was handed in. */
  readonly client: boolean;
  /** What every request names, if anything. */
  readonly query: Readonly<Record<string, string>> | undefined;
  readonly prefix: string;
  readonly node: string | undefined;
}

const KINDS: Kinds<ConsulOptions> = {
  host: ["string"],
  port: ["number"],
  secure: ["boolean"],
  ca: ["string", "array"],
  cert: ["string"],
  key: ["string"],
  servername: ["string"],
  token: ["string", "function"],
  datacenter: ["string"],
  namespace: ["string"],
  partition: ["string"],
  prefix: ["string"],
  node: ["string"],
};

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
  readonly _defaults?: {
    readonly token?: string;
    readonly dc?: string;
    readonly ns?: string;
    readonly partition?: string;
  };
}

/** Of a client's options, those that are meant for its connections. */
const CONNECTION = [
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
];

/**
 * Reads what `consul()` was given, before anything is connected.
 *
 * @throws {TypeError} If it is none of the things accepted.
 */
export function settings(
  target: string | ConsulOptions | ConsulClient | ConsulLocator,
  more: ConsulOptions,
): Settings {
  if (typeof target !== "string" && typeof target !== "function" && !isClient(target) && !isPlain(target)) {
    throw new TypeError('Expected a URL as a string, options, a locator or a client of "consul"');
  }
  if (!isPlain(more)) throw new TypeError("Expected options as an object");
  const among = typeof target === "object" && !isClient(target);
  const options = among ? { ...target, ...more } : more;
  checkOptions(options);
  if (!among && (options.host !== undefined || options.port !== undefined)) {
    throw new TypeError('Expected options "host" and "port" only where no address is given');
  }
  const client = isClient(target) ? target as Insides : undefined;
  const { prefix = "", node, token = client?._defaults?.token } = options;
  return {
    locate: locate(target, options),
    several: typeof target === "function",
    headers: { ...client?._opts?.headers },
    token,
    transport: { ...pick(client?._opts, CONNECTION), ...pick(options, ["ca", "cert", "key", "servername"]) },
    client: client !== undefined,
    query: query(typeof target === "string" ? queryOf(target) : client?._defaults ?? {}, options, client),
    prefix: prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`,
    node,
  };
}

/** What requests name: by the options, else by the address. */
function query(
  { dc, ns, partition }: NonNullable<Insides["_defaults"]>,
  options: ConsulOptions,
  client: Insides | undefined,
): Settings["query"] {
  const named = Object.entries({
    dc: [dc, options.datacenter, "datacenter"],
    ns: [ns, options.namespace, "namespace"],
    partition: [partition, options.partition, "partition"],
  }).flatMap(([name, [said, option, what]]) => {
    if (client === undefined && said !== undefined && option !== undefined && said !== option) {
      throw new TypeError(`Expected option "${what}" to be what the URL of the Consul agent says`);
    }
    const value = option ?? said;
    return value === undefined || value === "" ? [] : [[name, value]];
  });
  return named.length === 0 ? undefined : Object.fromEntries(named);
}

function isClient(target: unknown): target is ConsulClient {
  const { kv, session, transaction } = (target ?? {}) as Partial<ConsulClient>;
  return typeof kv === "object" && typeof session === "object" && typeof transaction === "object";
}

/** Neither a `URL` nor an array, which have nothing to say as options. */
function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null &&
    [Object.prototype, null].includes(Object.getPrototypeOf(value));
}

function checkOptions(options: ConsulOptions): void {
  checkKinds("consul()", options, KINDS);
  if (Array.isArray(options.ca) && !options.ca.every((one) => typeof one === "string")) {
    throw new TypeError('Expected "ca" of consul() to be an array of strings');
  }
  if (typeof options.token === "string" && !isToken(options.token)) {
    throw new TypeError('Expected option "token" to be printable ASCII without spaces');
  }
  if (
    options.prefix !== undefined &&
    !/^([A-Za-z0-9_,-]+(\.[A-Za-z0-9_,-]+)*(\/|$))*$/.test(options.prefix)
  ) {
    throw new TypeError(
      `Expected option "prefix" to be a path of plain names such as "team-a/locks/" (letters, digits and -_.,), got ${
        JSON.stringify(options.prefix)
      }`,
    );
  }
}

function locate(
  target: string | ConsulOptions | ConsulClient | ConsulLocator,
  options: ConsulOptions,
): () => Promise<Endpoint> {
  if (typeof target === "function") return () => located(target, options.secure);
  const found = isClient(target)
    ? clientsEndpoint(target)
    : endpoint(typeof target === "string" ? target : options, options.secure);
  return () => Promise.resolve(found);
}

async function located(locator: ConsulLocator, secure: boolean | undefined): Promise<Endpoint> {
  const address = await locator();
  if (typeof address === "string" && Object.keys(queryOf(address)).length > 0) {
    // Whoever contends has to name the same, whichever agent it talks to.
    throw new TypeError('Expected "dc", "ns" and "partition" as options, not in what the locator finds');
  }
  return endpoint(address, secure);
}

function clientsEndpoint(client: ConsulClient): Endpoint {
  const url = (client as Insides)._opts?.baseUrl;
  if (url === undefined) throw new TypeError('Expected a client of "consul" 2, whose address can be read');
  const secure = url.protocol === "https:";
  return {
    secure,
    host: url.hostname,
    port: Number(url.port) || (secure ? 443 : 80), // as the client itself does
    path: (url.path ?? "").replace(/\/v1$/, ""),
    auth: url.auth ?? undefined,
  };
}

function pick(from: object | undefined, names: readonly string[]): Transport {
  return Object.fromEntries(
    Object.entries(from ?? {}).filter(([name, value]) => names.includes(name) && value !== undefined),
  );
}
