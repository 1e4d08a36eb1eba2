import { checkKinds, type Kinds } from "../../internal/checks.ts";
import {
  type ConsulAddress,
  type ConsulLocator,
  type Endpoint,
  endpoint,
  type Query,
  queryOf,
} from "./client/endpoint.ts";
import type { HttpSettings } from "./client/http.ts";
import { type ConsulClient, isClient, readClient } from "./client/package_client.ts";
import type { Transport } from "./client/sender.ts";
import { isToken } from "./client/token.ts";

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
   * Node of the catalog that sessions belong to: they end when the node leaves the catalog.
   * @default {the agent's own}
   */
  readonly node?: string;
}

/** All that `consul()` was told. */
export interface Settings extends HttpSettings {
  /** Put before every key. */
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

/**
 * Reads what `consul()` was given, before anything is connected.
 *
 * @throws {TypeError | RangeError} If that is none of the things accepted.
 */
export function settings(
  target: string | ConsulOptions | ConsulClient | ConsulLocator,
  more: ConsulOptions,
): Settings {
  if (typeof target !== "string" && typeof target !== "function" && !isClient(target) && !isPlain(target)) {
    throw new TypeError('Expected a URL as a string, options, a locator or a client of "consul"');
  }
  if (!isPlain(more)) throw new TypeError("Expected options as an object");
  const client = isClient(target) ? readClient(target) : undefined;
  const among = typeof target === "object" && client === undefined;
  const options = among ? { ...target, ...more } as ConsulOptions : more;
  checkOptions(options);
  if (!among && (options.host !== undefined || options.port !== undefined)) {
    throw new TypeError('Expected options "host" and "port" only where no address is given');
  }
  const { prefix = "", node, token = client?.token } = options;
  return {
    locate: typeof target === "function"
      ? () => located(target, options.secure)
      : always(client?.at ?? endpoint(typeof target === "string" ? target : options, options.secure)),
    several: typeof target === "function",
    headers: client?.headers ?? {},
    token,
    transport: { ...client?.transport, ...tlsOf(options) },
    handedIn: client !== undefined,
    query: query(typeof target === "string" ? queryOf(target) : client?.query ?? {}, options, !client),
    prefix: prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`,
    node,
  };
}

/** What requests name: by the options, else by the address, which has to agree with them where `strict`. */
function query({ dc, ns, partition }: Query, options: ConsulOptions, strict: boolean): Settings["query"] {
  const named = Object.entries({
    dc: [dc, options.datacenter, "datacenter"],
    ns: [ns, options.namespace, "namespace"],
    partition: [partition, options.partition, "partition"],
  }).flatMap(([name, [said, option, what]]) => {
    if (strict && said !== undefined && option !== undefined && said !== option) {
      throw new TypeError(`Expected option "${what}" to be what the URL of the Consul agent says`);
    }
    const value = option ?? said;
    return value === undefined || value === "" ? [] : [[name, value]];
  });
  return named.length === 0 ? undefined : Object.fromEntries(named);
}

/** Whether a value may be options: neither a `URL` nor an array, which say nothing as options. */
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

function always(at: Endpoint): () => Promise<Endpoint> {
  return () => Promise.resolve(at);
}

async function located(locator: ConsulLocator, secure: boolean | undefined): Promise<Endpoint> {
  const address = await locator();
  if (typeof address === "string" && Object.keys(queryOf(address)).length > 0) {
    // All who contend have to name the same, whichever agent they talk to.
    throw new TypeError('Expected "dc", "ns" and "partition" as options, not in what the locator finds');
  }
  return endpoint(address, secure);
}

function tlsOf({ ca, cert, key, servername }: ConsulOptions): Transport {
  return Object.fromEntries(
    Object.entries({ ca, cert, key, servername }).filter(([, value]) => value !== undefined),
  );
}
