/**
 * The URLs of stores: which store each scheme names, read and checked before that store is loaded. A backend of them
 * loads its module, and that of no other store, at its first call.
 */
import type { Backend } from "../internal/backend.ts";
import { deferred } from "../internal/deferred_backend.ts";
import { consulScheme } from "./consul/scheme.ts";
import { etcdScheme } from "./etcd/scheme.ts";
import { memoryScheme } from "./memory/scheme.ts";
import { postgresScheme } from "./postgres/scheme.ts";
import { clusterScheme, redisScheme, sentinelScheme } from "./redis/scheme.ts";
import { redlockScheme } from "./redlock/scheme.ts";
import type { Opening, Scheme } from "./shared/scheme.ts";
import { takeApart } from "./shared/url.ts";
import { sqliteScheme } from "./sqlite/scheme.ts";
import { zookeeperScheme } from "./zookeeper/scheme.ts";

/** All that there are, in the order in which people are shown them. */
export const SCHEMES: readonly Scheme[] = [
  memoryScheme,
  sqliteScheme,
  postgresScheme,
  redisScheme,
  sentinelScheme,
  clusterScheme,
  redlockScheme,
  etcdScheme,
  zookeeperScheme,
  consulScheme,
];

/**
 * What a URL names.
 *
 * @throws {TypeError} If it names no store, or something in it is unknown, contradictory or not escaped.
 * @throws {RangeError} If a number is out of range. No message repeats what may be a part of a password.
 */
export function openingOf(url: string | URL): Opening {
  const [scheme, parts] = takeApart(textOf(url), SCHEMES);
  return scheme.read(parts);
}

/**
 * A backend over what a URL names: nothing is loaded before its first call. Two of them are two backends.
 *
 * @throws {TypeError | RangeError} As {@linkcode openingOf}.
 */
export function open(url: string | URL): Backend {
  const { name, traits, load } = openingOf(url);
  return deferred(name, traits, load);
}

/**
 * A URL for people to see: without what stands before the hosts, and without the parameters that are secret. One that
 * names no store is not shown.
 */
export function withoutSecrets(url: string | URL): string {
  let scheme, parts;
  try {
    [scheme, parts] = takeApart(textOf(url), SCHEMES);
    scheme.read(parts);
  } catch {
    return "(not a URL of a store)";
  }
  const { settings } = scheme;
  const shown = Object.entries(parts.settings).filter(([name]) => settings[name]!.kind !== "secret");
  const query = shown.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  const authority = parts.hosts.length > 0 ? `//${parts.hosts.join()}` : "";
  return `${parts.scheme}:${authority}${parts.path}${query && `?${query}`}`;
}

function textOf(url: string | URL): string {
  if (url instanceof URL) return url.href;
  if (typeof url !== "string" || url.trim() === "") {
    const what = typeof url === "string" ? "an empty string" : url === null ? "null" : typeof url;
    throw new TypeError(
      `Expected the URL of a store, got ${what}: is a variable of the environment not set?`,
    );
  }
  return url;
}
