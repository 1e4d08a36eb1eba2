import { checkPort } from "../../../internal/checks.ts";

/** Where a Consul agent listens. */
export interface ConsulAddress {
  /** Name or IP address; of IPv6 with a zone, `fe80::1%eth0`, where the runtime takes one. @default {"127.0.0.1"} */
  readonly host?: string;
  /** Port of the HTTP API. @default {8500, or 8501 with `secure`} */
  readonly port?: number;
  /** HTTPS. @default {false} */
  readonly secure?: boolean;
}

/**
 * Service discovery: where to find an agent, as a URL or an address. Asked before the first request,
 * and again whenever the agent that was named has failed.
 */
export type ConsulLocator = () => Promise<string | ConsulAddress>;

/** An agent to talk to. */
export interface Endpoint {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  /** Before `/v1`, where the API stands behind a path. */
  readonly path: string;
  /** `user:password` for a proxy in front of the agent. */
  readonly auth?: string | undefined;
}

/** What tells agents apart. */
export function nameOf({ secure, host, port }: Endpoint): string {
  return `${secure} ${host} ${port}`;
}

/** What the query of a URL may say: parameters of Consul that every request is to bear. */
export interface Query {
  readonly dc?: string;
  readonly ns?: string;
  readonly partition?: string;
}

const AGENT = "a Consul agent";

const EXPECTED = 'Expected the address of a Consul agent such as "http://127.0.0.1:8500"';

/**
 * Reads an address. Nothing of it is in an error: it may hold a password.
 *
 * @throws {TypeError | RangeError} If the address cannot be right.
 */
export function endpoint(address: string | ConsulAddress, secure?: boolean): Endpoint {
  if (typeof address === "string") return read(address, secure);
  if (typeof address !== "object" || address === null) throw new TypeError(EXPECTED);
  const { host = "127.0.0.1", secure: https = secure ?? false, port = https ? 8501 : 8500 } = address;
  if (typeof host !== "string" || !/^[^\s/?#@\[\]]+$/.test(host)) {
    throw new TypeError('Expected option "host" to be the name or the IP address of a Consul agent');
  }
  if (typeof port !== "number") {
    throw new TypeError(`Expected option "port" to be a number, got ${typeof port}`);
  }
  return { secure: https, host, port: checkPort(AGENT, port), path: "" };
}

function read(address: string, secure: boolean | undefined): Endpoint {
  const plain = !address.includes("://");
  const [url, zone] = parse(plain ? `${secure ? "https" : "http"}://${address}` : address);
  const https = url.protocol === "https:";
  if (secure !== undefined && secure !== https) {
    throw new TypeError('Expected option "secure" to be what the URL of the Consul agent says');
  }
  const usual = plain ? (https ? 8501 : 8500) : (https ? 443 : 80);
  return {
    secure: https,
    host: url.hostname.replace(/^\[|\]$/g, "") + zone,
    port: url.port === "" ? usual : checkPort(AGENT, Number(url.port)),
    path: url.pathname.replace(/\/(v1\/?)?$/, ""),
    auth: url.username === "" && url.password === "" ? undefined : credentials(url),
  };
}

/** With the zone of an IPv6 address, as in `[fe80::1%25eth0]`, which URLs of the web do not know. */
function parse(address: string): [url: URL, zone: string] {
  let zone = "";
  const url = URL.parse(address.replace(
    /^([a-z]+:\/\/(?:[^/?#@]*@)?\[[0-9a-f:.]+)%(?:25)?([\w.~-]+)(?=\])/i,
    (_, before: string, name: string) => {
      zone = `%${name}`;
      return before;
    },
  ));
  if (url === null || !/^https?:$/.test(url.protocol)) throw new TypeError(EXPECTED);
  return [url, zone];
}

/**
 * Reads what the query of a URL says.
 *
 * @throws {TypeError} If the query says anything else.
 */
export function queryOf(address: string): Query {
  const at = address.indexOf("?");
  if (at < 0) return {};
  const query = Object.create(null) as Record<string, string>;
  for (const [name, value] of new URLSearchParams(address.slice(at).replace(/#.*/, ""))) {
    if (!/^(dc|ns|partition)$/.test(name) || value === "" || name in query) {
      const option = name === "token" ? ': a token is an option, "token", and in no URL' : "";
      throw new TypeError(
        'Expected the query of the URL of a Consul agent to name a "dc", "ns" or "partition", once, got ' +
          `${JSON.stringify(name.slice(0, 20))}${option}`,
      );
    }
    query[name] = value;
  }
  return query;
}

function credentials({ username, password }: URL): string {
  try {
    return `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch {
    throw new TypeError("Expected the user and the password of a URL to be percent-encoded");
  }
}
