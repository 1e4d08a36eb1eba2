import { checkUserinfo, decodeIn, notEscaped } from "../../../internal/checks.ts";
import type { Said } from "./options.ts";

/** What may stand before `://`, and whether it asks for TLS. */
const SCHEMES: Readonly<Record<string, Pick<Said, "tls">>> = {
  redis: {},
  valkey: {},
  rediss: { tls: {} },
  valkeys: { tls: {} },
  unix: {},
};

/** What other tools write there. */
const INSTEAD: readonly (readonly [RegExp, string])[] = [
  [/sentinel/, 'give options: { sentinels: [{ host, port }], name: "mymaster" }'],
  [/cluster/, 'give options: { cluster: ["redis://host:port"] }'],
  [/^(redis|valkey)[+-](tls|ssl)$/, "write rediss://host:port"],
  [/^(redis|valkey)[+-](unix|socket)$/, "write unix:///path/of/the/socket"],
];

const ACCEPTED = "redis://user:password@host:port/db, rediss:// for TLS, or unix:///path";

/** The parameters that say something here. */
const PARAMETERS: Readonly<Record<string, (value: string) => Said | undefined>> = {
  db: (value) => /^\d+$/.test(value) ? { db: Number(value) } : undefined,
  family: (value) => /^[046]$/.test(value) ? { family: Number(value) as 0 | 4 | 6 } : undefined,
  protocol: (value) => /^[23]$/.test(value) ? { protocol: Number(value) as 2 | 3 } : undefined,
  tls: (value) => value === "true" ? { tls: {} } : value === "false" ? { tls: undefined } : undefined,
};

/**
 * Reads a URL. `URL` would not do: it takes a password with a `#` or `/` in it for host and port.
 *
 * @throws {TypeError} If it is none, or says what is not understood. The message repeats nothing that
 * may be a part of a password.
 */
export function parse(url: string): Said {
  const [, scheme = "", authority = "", pathname = "", query, fragment] =
    /^([a-z][a-z\d+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/is.exec(url.trim()) ?? [];
  const known = SCHEMES[scheme.toLowerCase()];
  if (known === undefined) throw new TypeError(`Cannot use this as a Redis URL: ${otherwise(scheme)}`);
  if (fragment !== undefined || /@/.test(pathname + (query ?? ""))) throw notEscaped("Redis URL");
  const at = authority.lastIndexOf("@");
  const said = {
    ...known,
    ...credentials(checkUserinfo("Redis URL", authority.slice(0, Math.max(at, 0)))),
    ...(scheme.toLowerCase() === "unix"
      ? socket(authority.slice(at + 1), pathname)
      : server(authority.slice(at + 1), pathname)),
  };
  return parameters(said, query ?? "");
}

function otherwise(scheme: string): string {
  return INSTEAD.find(([other]) => other.test(scheme.toLowerCase()))?.[1] ?? `${ACCEPTED} is expected`;
}

function credentials(text: string): Said {
  const colon = text.indexOf(":");
  const username = decodeIn("Redis URL", colon === -1 ? text : text.slice(0, colon));
  const password = colon === -1 ? "" : decodeIn("Redis URL", text.slice(colon + 1));
  return { ...(username && { username }), ...(password && { password }) };
}

function socket(host: string, pathname: string): Said {
  if (host !== "" || pathname.length < 2) {
    throw new TypeError("Cannot read the Redis URL: a socket is written unix:///path, with three slashes");
  }
  return { path: decodeIn("Redis URL", pathname) };
}

function server(text: string, pathname: string): Said {
  const [all, host, port] = /^(\[[\da-f:.]+\]|[^:[\]\s]*)(?::(\d*))?$/i.exec(text) ?? [];
  if (all === undefined) throw new TypeError(`Cannot read the Redis URL: ${ACCEPTED} is expected`);
  if (!host) {
    throw new TypeError("Cannot use a Redis URL without a host: redis://127.0.0.1:6379 is this machine");
  }
  if (!/^\/?$|^\/\d+$/.test(pathname)) {
    throw new TypeError("Cannot read the database of the Redis URL: a number is expected after the slash");
  }
  const db = pathname.length > 1 ? Number(pathname.slice(1)) : undefined;
  if (db !== undefined && db > 2 ** 31 - 1) { // not shown: a part of a password may stand there
    throw new RangeError('Expected "db" of the Redis URL to be 0 to 2147483647');
  }
  return {
    host,
    port: Number(port || 6379),
    ...(db !== undefined && { db }),
  };
}

function parameters(said: Said, query: string): Said {
  let all = said;
  for (const [name, value] of new URLSearchParams(query)) {
    const read = Object.hasOwn(PARAMETERS, name) ? PARAMETERS[name] : undefined;
    const more = read?.(value);
    if (read === undefined || more === undefined) {
      const known = Object.keys(PARAMETERS).join(", ");
      throw new TypeError(
        `Cannot use the parameter "${name}" of the Redis URL: ${
          read ? "its value is none that is known" : `${known} are known`
        }`,
      );
    }
    if (contradicts(all, more)) {
      throw new TypeError(`Cannot use the parameter "${name}" of the Redis URL: it contradicts the rest`);
    }
    all = { ...all, ...more };
  }
  return all;
}

/** The path has said `db`, `rediss:` has said TLS, and a parameter may come twice. */
function contradicts(said: Said, more: Said): boolean {
  if ("tls" in more) return said.path !== undefined || ("tls" in said && !more.tls !== !said.tls);
  return Object.entries(more).some(([name, value]) => name in said && said[name as keyof Said] !== value);
}
