/**
 * The one reading of the URLs that `connect` takes. `URL` would not do: it knows no second host, and takes a password
 * with a `#` or `/` in it for host and port. No error of these repeats a text that is not known from a table, since a
 * part of a password may stand anywhere in a URL that is not right.
 */
import { checkUserinfo, decodeIn, notEscaped } from "../../internal/checks.ts";
import { closest } from "../../internal/near_misses.ts";
import type { Scheme, Setting, Settings, StoreUrl } from "./scheme.ts";

const OF = "URL of the store";

/**
 * Takes a URL apart.
 *
 * @throws {TypeError | RangeError} If it is none, or a parameter is unknown, given twice or not what it may be.
 */
export function takeApart(text: string, schemes: readonly Scheme[]): [Scheme, StoreUrl] {
  const [, name = "", authority, path = "", query = "", fragment] =
    /^([a-z][a-z\d+.-]*):(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?$/is.exec(text.trim()) ?? [];
  const called = name.toLowerCase();
  const scheme = schemes.find(({ names }) => names.includes(called));
  if (scheme === undefined) throw unknown(called, schemes);
  const at = (authority ?? "").lastIndexOf("@");
  const hosts = authority === undefined ? [] : authority.slice(at + 1).split(",");
  if (hosts.some((host) => host !== "") && /@/.test(path + query)) throw notEscaped(OF);
  if (fragment !== undefined) {
    throw authority ? notEscaped(OF) : new TypeError(`Cannot read the ${OF}: "#" is written %23`);
  }
  const userinfo = (authority ?? "").slice(0, at + 1);
  checkUserinfo(OF, userinfo.slice(0, -1));
  for (const host of hosts) checkPort(host);
  return [scheme, {
    scheme: called,
    userinfo,
    hosts,
    path,
    settings: settingsOf(called, scheme, query),
  }];
}

/**
 * The hosts of a URL, each with a port; at least one. The zone of an IPv6 address is no longer escaped.
 *
 * @throws {TypeError} If there is none, or the URL lacks its `//`.
 */
export function hostsOf({ scheme, hosts, path }: StoreUrl, port: number): string[] {
  if (hosts.length === 0 || path !== "" && !path.startsWith("/") || hosts.includes("")) {
    throw new TypeError(
      `Cannot use a ${scheme} URL without a host: ${scheme}://127.0.0.1:${port} is this machine`,
    );
  }
  return hosts.map((text) => {
    const [, host, own] = /^(\[[\da-f:.]+(?:%25[\w.~-]+)?\]|[^\s:%[\]]+)(?::(\d*))?$/i.exec(text) ?? [];
    if (host !== undefined) return `${host.replace("%25", "%")}:${own || port}`;
    throw new TypeError(
      `Cannot read the ${OF}: a host is a name or an address, [::1] of IPv6, and a number its port`,
    );
  });
}

/**
 * Whom a URL names before its hosts.
 *
 * @throws {TypeError} If something is not escaped.
 */
export function credentialsOf({ userinfo }: StoreUrl): { username?: string; password?: string } {
  const [, username = "", password] = /^([^:]*)(?::(.*))?@$/s.exec(userinfo) ?? [];
  return {
    ...(username !== "" && { username: decodeIn(OF, username) }),
    ...(password !== undefined && { password: decodeIn(OF, password) }),
  };
}

/**
 * The path of a URL, as it reads.
 *
 * @throws {TypeError} If something is not escaped.
 */
export function pathOf({ path }: StoreUrl): string {
  return decodeIn(OF, path);
}

/** Parameters as the query of another URL, the question mark included. */
export function queryOf(settings: Settings, names: readonly string[]): string {
  const given = names.filter((name) => name in settings);
  return given.map((name, n) => `${n === 0 ? "?" : "&"}${name}=${encodeURIComponent(settings[name]!)}`).join(
    "",
  );
}

/** Those of the settings that have these names. */
export function pick(settings: Settings, names: readonly string[]): Settings {
  return Object.fromEntries(Object.entries(settings).filter(([name]) => names.includes(name)));
}

/** Where a host is left out, what stands in the place of the port may be a password. */
function checkPort(host: string): void {
  const port = /:(\d+)$/.exec(host.replace(/^\[.*\]/, ""))?.[1];
  if (port === undefined || Number(port) >= 1 && Number(port) <= 65_535) return;
  throw new RangeError(`Cannot read the ${OF}: a port is 1 to 65535 (a password stands before an "@")`);
}

function settingsOf(called: string, { settings, hints = {} }: Scheme, query: string): Settings {
  const known = Object.keys(settings);
  const found: Record<string, string | number | boolean> = Object.create(null);
  const pairs = query.split("&").filter((pair) => pair !== "");
  for (const [n, pair] of pairs.entries()) {
    const [, written = "", value = ""] = /^([^=]*)(?:=(.*))?$/s.exec(pair)!;
    const name = decodeIn(OF, written);
    if (!Object.hasOwn(settings, name)) {
      const hint = Object.hasOwn(hints, name) ? hints[name] : closest(name, known);
      const which = hint === undefined ? `${n + 1}` : `${JSON.stringify(name)} (${hint})`;
      const expected = known.length === 0
        ? 'it has none ("?" is written %3F)'
        : `expected ${known.join(", ")}`;
      throw new TypeError(`Unknown parameter ${which} of the ${called} URL: ${expected}`);
    }
    if (name in found) throw new TypeError(`Cannot use the parameter "${name}" of the ${called} URL twice`);
    found[name] = valueOf(
      `the parameter "${name}" of the ${called} URL`,
      settings[name]!,
      decodeIn(OF, value),
    );
  }
  return { ...found };
}

function valueOf(what: string, { kind }: Setting, text: string): string | number | boolean {
  if (text === "") {
    throw new TypeError(`Expected ${what} to have a value: is a variable of the environment not set?`);
  }
  if (kind === "number") {
    if (!/^\d+(\.\d+)?$/.test(text)) throw new TypeError(`Expected ${what} to be a number`);
    return Number(text);
  }
  if (kind !== "flag") return text;
  if (text !== "true" && text !== "false") throw new TypeError(`Expected ${what} to be true or false`);
  return text === "true";
}

/** Schemes of others, and what to write for them here. */
const ELSEWHERE: readonly (readonly [says: RegExp, hint: string])[] = [
  [
    /^https?$/,
    "etcd and Consul are etcd://host:2379 and consul://host:8500, with TLS etcds:// and consuls://",
  ],
  [/^unix$/, 'for a socket of Redis, new LockManager(redis("unix:///path")); Postgres takes ?host=/folder'],
  [/^file$/, "a file is sqlite:///path"],
  [/^sentinel$|^(redis|valkey).*sentinel$/, "write redis+sentinel://host1,host2/name"],
  [/^(redis|valkey).*cluster$/, "write redis+cluster://host1,host2"],
  [/^(redis|valkey)s?[+-](tls|ssl)$/, "write rediss://host"],
  [/^zk$/, "write zookeeper://host"],
  [/^etcd[+-]?(https|tls|ssl)$/, "write etcds://host"],
  [/^consul[+-]?(https|tls|ssl)$/, "write consuls://host"],
  [/^(jdbc|pg|pgsql|psql|postgres.*)$/, "write postgres://user:password@host/database"],
  [
    /^(mysql|mysqlx|mariadb|mssql|sqlserver|oracle|mongodb|mongodb\+srv|cockroachdb|dynamodb|firestore|memcached?)$/,
    "there is no backend for it; see the README for how to write one",
  ],
];

function unknown(called: string, schemes: readonly Scheme[]): TypeError {
  const known = schemes.flatMap(({ names }) => names);
  const hint = ELSEWHERE.find(([says]) => says.test(called))?.[1] ?? closest(called, known);
  const what = hint === undefined
    ? "this as the URL of a store"
    : `the scheme ${JSON.stringify(called)} (${hint})`;
  const usual = schemes.map(({ names }) => `${names[0]}:`).join(", ");
  return new TypeError(`Cannot use ${what}: expected ${usual}, or one of theirs for TLS, such as rediss:`);
}
