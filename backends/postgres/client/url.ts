import { checkNames, checkUserinfo, decodeIn, notEscaped } from "../../../internal/checks.ts";
import { MODES, type PostgresHost, type Said, type SslMode } from "./options.ts";

const ACCEPTED = "postgres://user:password@host:port/database";

/** What other tools write before `://`. */
const INSTEAD: readonly (readonly [RegExp, string])[] = [
  [/^(jdbc:)?(postgres|postgresql|pg)([+-].*)?$|^jdbc$/, `write ${ACCEPTED}`],
  [/^prisma/, "give the URL of the database itself"],
];

/** What a parameter of libpq says here; `undefined`: nothing that can be done. */
const PARAMETERS: Readonly<Record<string, (value: string) => Said | undefined>> = {
  host: () => ({}), // both are read with the rest of the URL
  port: () => ({}),
  dbname: (value) => value ? { database: value } : undefined,
  user: (value) => value ? { user: value } : undefined,
  password: (value) => ({ password: value }),
  sslmode: (value) => MODES.includes(value as SslMode) ? { sslmode: value as SslMode } : undefined,
  sslrootcert: (value) => value ? { sslrootcert: value } : undefined,
  sslcert: (value) => value ? { sslcert: value } : undefined,
  sslkey: (value) => value ? { sslkey: value } : undefined,
  sslnegotiation: (value) =>
    value === "postgres" || value === "direct" ? { sslnegotiation: value } : undefined,
  channel_binding: (value) => value === "prefer" || value === "disable" ? {} : undefined,
  gssencmode: (value) => value === "prefer" || value === "disable" ? {} : undefined,
  target_session_attrs: (value) => ["read-write", "primary", "any"].includes(value) ? {} : undefined,
  application_name: (value) => ({ applicationName: value }),
  connect_timeout: (value) => /^\d{1,6}$/.test(value) ? { connectTimeout: Number(value) } : undefined,
  options: (value) => ({ options: value }),
};

/** What other tools write there, and where it belongs. */
export const ELSEWHERE: Readonly<Record<string, string>> = {
  schema: "give it in the second argument",
  search_path: "give `schema` in the second argument",
  ssl: "give sslmode=require or sslmode=verify-full",
  hostaddr: "give the address as the host, and for TLS the name as `tls.servername` in options",
  username: "give user",
  database: "give dbname",
  connection_limit: "there is one connection for calls, and one for listening",
  pgbouncer: "leave it out: nothing is needed behind a pooler, but `listen` in the second argument helps",
};

/** What to do about a value that cannot be taken. */
const HINTS: Readonly<Record<string, string>> = {
  sslmode: `${MODES.join(", ")} are known`,
  sslnegotiation: "postgres and direct are known",
  channel_binding:
    "leave it out: the client cannot bind a login to TLS; sslmode=verify-full checks the server",
  gssencmode: "prefer and disable are known: the client speaks no GSSAPI",
  target_session_attrs: "a server that can be written to is needed: read-write, primary and any are known",
  connect_timeout: "whole seconds are known, for each host; 0 for no limit",
};

/**
 * Reads a URL as libpq does. `URL` would not do: it knows no second host, and takes a password with a `#` or `/` in it
 * for host and port.
 *
 * @throws {TypeError} If it is none, or says what is not understood. The message repeats nothing that may be a part of
 * a password.
 */
export function parse(url: string): Said {
  const [, scheme = "", authority = "", pathname = "", query = "", fragment] =
    /^([a-z][a-z\d+.:-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/is.exec(url.trim()) ?? [];
  if (!/^postgres(ql)?$/i.test(scheme)) {
    const instead = INSTEAD.find(([other]) => other.test(scheme.toLowerCase()))?.[1] ??
      `${ACCEPTED} is expected`;
    throw new TypeError(`Cannot use this as a Postgres URL: ${instead}`);
  }
  if (fragment !== undefined || /@/.test(pathname + query)) throw notEscaped("Postgres URL");
  if (pathname.indexOf("/", 1) > 0) {
    throw new TypeError("Cannot read the database of the Postgres URL: one name is expected after the slash");
  }
  const at = authority.lastIndexOf("@");
  const userinfo = checkUserinfo("Postgres URL", authority.slice(0, Math.max(at, 0)));
  const database = decodeIn("Postgres URL", pathname.slice(1));
  const parameters = [...new URLSearchParams(query)];
  const other = parameters.find(([name]) => Object.hasOwn(ELSEWHERE, name))?.[0];
  if (other !== undefined) {
    throw new TypeError(`Unknown option ${JSON.stringify(other)} of a Postgres URL: ${ELSEWHERE[other]}`);
  }
  checkNames("a Postgres URL", Object.fromEntries(parameters), Object.keys(PARAMETERS));
  let said: Said = { ...credentials(userinfo), ...(database && { database }) };
  for (const [name, value] of parameters) {
    const more = PARAMETERS[name]!(value);
    if (more === undefined) {
      const hint = HINTS[name] ?? "its value is none that is known";
      throw new TypeError(`Cannot use the parameter "${name}" of the Postgres URL: ${hint}`);
    }
    said = merge(said, more, name);
  }
  return { ...said, hosts: hosts(authority.slice(at + 1), new Map(parameters)) };
}

/** What the rest of the URL says, or the parameter when it came before, must not be said otherwise. */
function merge(said: Said, more: Said, name: string): Said {
  for (const [key, value] of Object.entries(more)) {
    const before = said[key as keyof Said];
    if (before === undefined || before === value) continue;
    throw new TypeError(`Cannot use the parameter "${name}" of the Postgres URL: it contradicts the rest`);
  }
  return { ...said, ...more };
}

function credentials(text: string): Said {
  const colon = text.indexOf(":");
  const user = decodeIn("Postgres URL", colon === -1 ? text : text.slice(0, colon));
  const password = colon === -1 ? "" : decodeIn("Postgres URL", text.slice(colon + 1));
  return { ...(user && { user }), ...(password && { password }) };
}

/** Hosts are between `@` and `/`, or parameters: then they and their ports are lists. */
function hosts(text: string, parameters: ReadonlyMap<string, string>): PostgresHost[] {
  const [listed, ports = ""] = [parameters.get("host"), parameters.get("port")];
  if (text !== "" && (listed !== undefined || ports !== "" && /:\d/.test(text))) {
    throw new TypeError(
      'Cannot use the parameter "host" or "port" of the Postgres URL: it contradicts the rest',
    );
  }
  const places = listed === undefined
    ? text.split(",").map(place)
    : listed.split(",").map((host): Place => ({ host }));
  const numbers = ports.split(",");
  if (ports !== "" && numbers.some((port) => !/^\d+$/.test(port))) throw unreadable();
  if (numbers.length !== 1 && numbers.length !== places.length) {
    throw new TypeError(
      'Cannot use the parameter "port" of the Postgres URL: one, or one for each host is expected',
    );
  }
  return places.map(({ host, port }, at) => {
    const said = port ?? (numbers.length === 1 ? numbers[0] : numbers[at]);
    if (host === "") {
      throw new TypeError(
        "Cannot use a Postgres URL without a host: postgres://127.0.0.1:5432 is this machine",
      );
    }
    return { host, ...(said && { port: Number(said) }) };
  });
}

/** As it is written. */
interface Place {
  readonly host: string;
  readonly port?: string;
}

function place(text: string): Place {
  const [all, host = "", port] = /^(\[[\da-f:.]+(?:%25[\w.~-]+)?\]|[^:[\]\s]*)(?::(\d*))?$/i.exec(text) ?? [];
  if (all === undefined) throw unreadable();
  return { host: decodeIn("Postgres URL", host), ...(port && { port }) };
}

function unreadable(): TypeError {
  return new TypeError(`Cannot read the Postgres URL: ${ACCEPTED} is expected`);
}
