import { isIPv6 } from "node:net";
import { checkKinds, checkPort, isObject, type Kinds } from "../../internal/checks.ts";
import { Servers } from "./client/servers.ts";
import type { Located, Settings } from "./client/settings.ts";

/** A connection string as ZooKeeper's clients take it, `"h1:2181,h2:2181/chroot"`, or one server. */
export type ZooKeeperAddress = string | {
  /** Name or address. */
  readonly host: string;
  /** @default {2181} */
  readonly port?: number;
};

/** Asked at every connection and reconnection: service discovery. */
export type ZooKeeperLocator = () => Promise<ZooKeeperAddress>;

/** How to reach ZooKeeper. */
export interface ZooKeeperOptions {
  /** Where, or who knows. */
  readonly address: ZooKeeperAddress | ZooKeeperLocator;
  /** Digest authentication. Every node is then created for this user alone. */
  readonly username?: string;
  /** Goes with `username`. */
  readonly password?: string;
  /** The folder that everything happens in, in place of the address's own. */
  readonly chroot?: string;
  /**
   * Milliseconds: the servers' `tickTime`, or more. By so much a follower may be late in telling its
   * leader that a session is alive.
   * @default {2000}
   */
  readonly tickTime?: number;
}

const KINDS: Kinds<ZooKeeperOptions> = {
  address: ["string", "object", "function"],
  username: ["string"],
  password: ["string"],
  chroot: ["string"],
  tickTime: ["number"],
};

const SERVER = "a ZooKeeper server";

/** Checks what the user gave. Throws `TypeError` or `RangeError` naming the option. */
export function settingsOf(given: string | ZooKeeperOptions | ZooKeeperLocator): Settings {
  const options: ZooKeeperOptions = typeof given === "string" || typeof given === "function"
    ? { address: given }
    : given;
  if (!isObject(options)) throw new TypeError("zookeeper() takes a connection string, options or a locator");
  checkKinds("zookeeper()", options, KINDS);
  const { address, username, password, tickTime = 2000 } = options;
  if ((username === undefined) !== (password === undefined)) {
    throw new TypeError("Options username and password of zookeeper() go together");
  }
  if (username === "" || username?.includes(":")) {
    throw new TypeError("Option username of zookeeper() must be without a colon, and not empty");
  }
  if (!(tickTime >= 1 && tickTime <= 60_000)) {
    throw new RangeError(`Option tickTime of zookeeper() must be 1 to 60000 ms, not ${tickTime}`);
  }
  const chroot = options.chroot === undefined ? undefined : chrootOf(options.chroot);
  const resolve = (found: ZooKeeperAddress): Located => {
    const located = parse(found);
    return chroot === undefined ? located : { ...located, chroot };
  };
  const fixed = typeof address === "function" ? undefined : resolve(address);
  return {
    locate: fixed ? () => Promise.resolve(fixed) : async () => resolve(await (address as ZooKeeperLocator)()),
    servers: new Servers(),
    credentials: username === undefined ? undefined : `${username}:${password}`,
    tickTime,
  };
}

function parse(address: ZooKeeperAddress): Located {
  if (typeof address !== "string") {
    const { host, port = 2181, ...others } = address ?? {};
    if (typeof host !== "string" || typeof port !== "number" || Object.keys(others).length > 0) {
      throw new TypeError("An address of ZooKeeper is a string or { host, port }");
    }
    // Not quoted, nor in the string below: a user may have put a password there.
    if (!/^[^\s,/@[\]]+$/.test(host)) {
      throw new TypeError("The host of a ZooKeeper server is a name or an IP address");
    }
    return { servers: [{ host, port: checkPort(SERVER, port) }], chroot: "" };
  }
  const slash = address.indexOf("/");
  const hosts = slash < 0 ? address : address.slice(0, slash);
  const servers = hosts.split(",").map((part) => {
    const match = /^\s*(?:\[([^\]]+)\]|([^:\s@]+))(?::(\d+))?\s*$/.exec(part);
    if (match === null || match[1] !== undefined && !isIPv6(match[1])) {
      throw new TypeError('An address of ZooKeeper reads "host:port,host:port/chroot"');
    }
    const host = match[1] ?? match[2]!;
    return { host, port: checkPort(SERVER, Number(match[3] ?? 2181)) };
  });
  return { servers, chroot: slash < 0 ? "" : chrootOf(address.slice(slash)) };
}

function chrootOf(path: string): string {
  if (path === "" || path === "/") return "";
  // deno-lint-ignore no-control-regex
  if (!/^(\/(?!\.{1,2}(\/|$))[^/\u0000-\u001f\u007f-\u009f\ud800-\uf8ff\ufff0-\uffff]+)+$/.test(path)) {
    // Not quoted: a slash in a password that is not escaped begins one.
    throw new TypeError('A chroot of zookeeper() reads "/a/b": plain names, none of them empty, "." or ".."');
  }
  return path;
}
