import { Buffer } from "node:buffer";
import { checkKinds, checkPort, isObject, type Kinds } from "../../internal/checks.ts";
import type { Target } from "./client/client.ts";
import type { Etcd3Like } from "./client/handed_in.ts";

/** Says where a member is, asked at every (re)connection: `host:port` or a URL, or several. */
export type EtcdLocator = () => Promise<string | readonly string[]>;

/** Options of `etcd()`. */
export interface EtcdOptions {
  /**
   * `host:port`, or URLs, with `https:` for TLS; or where to ask for them. With several, one that is
   * silent costs a part of a call, and the next is asked. The zone of an address in brackets goes
   * with it, as in `[fe80::1%eth0]:2379` (Deno connects to none that has one).
   * @default {"127.0.0.1:2379"}
   */
  readonly hosts?: string | readonly string[] | EtcdLocator;
  /** Together with `password`, where the cluster asks for it. */
  readonly username?: string;
  /** Shown in no error. */
  readonly password?: string;
  /** TLS whatever the addresses say. */
  readonly tls?: EtcdTls;
}

/** Whom to trust, and who we are: PEM texts, not the paths of files. */
export interface EtcdTls {
  /** Authorities to trust instead of the well-known ones. */
  readonly ca?: string | Uint8Array;
  /** The client's own certificate. */
  readonly cert?: string | Uint8Array;
  /** Its private key. */
  readonly key?: string | Uint8Array;
  /** The name in the server's certificate, where it is not the one in its address. */
  readonly servername?: string;
}

/** What `etcd()` accepts. */
export type EtcdTarget = string | readonly string[] | EtcdOptions | Etcd3Like | EtcdLocator;

const KINDS: Kinds<EtcdOptions> = {
  hosts: ["string", "array", "function"],
  username: ["string"],
  password: ["string"],
  tls: ["object"],
};

const PEM = ["string", "object"] as const;

/** What to connect to. */
export function readTarget(target: EtcdTarget): Target | Etcd3Like {
  if (isObject(target) && "kv" in target) return client(target);
  const options = (isObject(target) ? target : { hosts: target }) as EtcdOptions;
  checkKinds("etcd()", options, KINDS);
  const { hosts = "127.0.0.1:2379", username, password, tls } = options;
  const locate = typeof hosts === "function" ? hosts : () => Promise.resolve(hosts);
  if (typeof hosts !== "function") readOrigins(hosts, tls !== undefined);
  return {
    locate: async () => readOrigins(await locate(), tls !== undefined),
    credentials: tls === undefined ? {} : pems(tls),
    user: user(username, password),
  };
}

function readOrigins(hosts: string | readonly string[], tls: boolean): readonly string[] {
  const all = typeof hosts === "string" ? [hosts] : hosts;
  if (!Array.isArray(all)) {
    throw new TypeError(`Cannot connect to etcd: an address is a string, not a ${typeof hosts}`);
  }
  if (all.length === 0) throw new TypeError("Cannot connect to etcd: no address was given");
  return all.map((host: unknown) => {
    const [, scheme, name, port] = (typeof host === "string" && ADDRESS.exec(host)) || [];
    if (name === undefined) {
      // Not shown: it may contain a password.
      throw new TypeError(
        "Cannot connect to etcd: an address is host:port, http://host:port or https://host:port; " +
          "username and password are options of their own",
      );
    }
    return `${tls ? "https://" : scheme ?? "http://"}${name}:${checkPort("an etcd member", Number(port))}`;
  });
}

const ADDRESS = /^(https?:\/\/)?(\[[\da-f:.]+(?:%[\w.~-]+)?\]|[^\s/@?#:[\]]+):(\d+)\/?$/i;

function user(username?: string, password?: string): Target["user"] {
  if (username === undefined && password === undefined) return undefined;
  if (username === undefined || password === undefined || username === "") {
    throw new TypeError("Cannot log in to etcd: give both username and password, or neither");
  }
  return { username, password };
}

function pems(tls: EtcdTls): Target["credentials"] {
  checkKinds("tls of etcd()", tls, { ca: PEM, cert: PEM, key: PEM, servername: ["string"] });
  const { servername, ...texts } = tls;
  if (servername === "") throw new TypeError('Expected "servername" of tls of etcd() to be a name, got ""');
  for (const [name, text] of Object.entries(texts)) checkPem(name, text);
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new TypeError("Cannot use half of a pair of etcd(): give both cert and key of tls, or neither");
  }
  const read = Object.entries(texts).map(([name, text]) => [
    name,
    text instanceof Uint8Array ? Buffer.from(text) : text,
  ]);
  return { ...Object.fromEntries(read), ...(servername !== undefined && { servername }) };
}

/** The value is not shown: it may be a key. */
function checkPem(name: string, text: unknown): void {
  if (text === undefined) return;
  const found = text instanceof Uint8Array ? Buffer.from(text).toString("latin1") : text;
  if (typeof found === "string" && found.includes("-----BEGIN ")) return;
  throw new TypeError(
    `Expected "${name}" of tls of etcd() to be a PEM text, which has "-----BEGIN" in it: ` +
      "give what the file contains, not its path",
  );
}

function client(target: object): Etcd3Like {
  const { kv, leaseClient, watchClient } = target as Record<string, Record<string, unknown> | undefined>;
  if ([kv?.["txn"], leaseClient?.["leaseGrant"], watchClient?.["watch"]].every(isFunction)) {
    return target as Etcd3Like;
  }
  throw new TypeError(
    'Cannot use what was given to etcd() as a client: one of the package "etcd3" is expected',
  );
}

function isFunction(value: unknown): boolean {
  return typeof value === "function";
}
