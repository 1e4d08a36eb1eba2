import type { Options, Sql } from "postgres";
import { refused } from "../../shared/errors.ts";
import type { Link, LinkRequest, Row } from "./link.ts";
import { type Address, type Host, isPath } from "./options.ts";
import { Pending } from "./pending.ts";
import { ask, type Query, rowsOf } from "./postgres_js.ts";
import { closedEarly, dial, encrypt, theirs } from "./socket.ts";
import { tlsOptions } from "./tls.ts";
import { orUndo } from "./waiting.ts";
import { Wire } from "./wire.ts";

/** The ways to a server that a mode allows, in order, as libpq has them. */
const WAYS: Readonly<Record<Address["mode"], readonly ("plain" | "tls")[]>> = {
  disable: ["plain"],
  allow: ["plain", "tls"],
  prefer: ["tls", "plain"],
  require: ["tls"],
  "verify-ca": ["tls"],
  "verify-full": ["tls"],
};

/**
 * What the package would make of options; given so, it reads no variables of the environment. Nothing is looked up or
 * read into other types, and no connection is ended or made by itself.
 */
const OPTIONS = {
  host: ["-"],
  port: [1],
  path: false,
  ssl: false,
  max: 1,
  max_pipeline: Infinity,
  prepare: false,
  debug: false,
  fetch_types: false,
  no_subscribe: true,
  backoff: 0,
  types: {},
  parsers: {},
  serializers: {},
  transform: { undefined, column: {}, value: {}, row: {} },
  onnotice: () => {},
};

/** Opens a connection of our own to one server. */
export async function openServer(address: Address, host: Host, request: LinkRequest): Promise<Link> {
  const { abandoned } = request;
  const { mode } = address;
  await import("postgres"); // it may not be installed, which no server need be asked for
  const isPlain = isPath(host.host) && address.socket === undefined;
  const [password, tls] = await orUndo(
    Promise.all([passwordOf(address), isPlain ? {} : tlsOptions(address, host)]),
    abandoned,
    () => {},
  );
  let failed: unknown;
  for (const way of isPlain ? WAYS.disable : WAYS[mode]) {
    const socket = await (address.socket ? theirs(address.socket, abandoned) : dial(host, abandoned));
    let encrypted = way === "tls";
    try {
      const secured = encrypted ? await encrypt(socket, tls, address.isDirect, abandoned) : undefined;
      encrypted = secured !== undefined;
      if (way === "tls" && !encrypted && mode !== "prefer") throw new Error("the server does not speak TLS");
      return await logIn(new Wire(secured ?? socket, password !== undefined), address, password, request);
    } catch (error) {
      socket.destroy();
      if (encrypted) failed = error;
      else failed ??= error;
      if (abandoned.aborted || way === "tls" && !encrypted) break;
    }
  }
  throw failed;
}

async function passwordOf({ password }: Address): Promise<string | undefined> {
  if (typeof password !== "function") return password;
  const given: unknown = await password();
  if (typeof given === "string") return given;
  throw refused("log in to Postgres", `\`password\` has returned ${typeof given}`, {
    hint: "it must return a string, or a promise of one",
    retryable: false,
  });
}

async function logIn(
  wire: Wire,
  { user, database, parameters }: Address,
  password: string | undefined,
  request: LinkRequest,
): Promise<Link> {
  const { default: postgres } = await import("postgres");
  const link = new OurLink(wire, request);
  const options = {
    ...OPTIONS,
    user,
    database,
    pass: password,
    connection: parameters,
    parameters: {},
    shared: { retries: 0, typeArrayMap: {} },
    onnotify: (channel: string, payload: string) => request.notified?.(channel, payload),
    onclose: () => link.ended(),
    socket: () => link.wire(),
  };
  const sql = postgres(options as unknown as Options<Record<never, never>>);
  const [[standby] = []] = await orUndo(link.start(sql), request.abandoned, () => link.close());
  if (standby === "true") {
    link.close();
    throw Object.assign(new Error("the server is a standby, which takes no writes"), { code: "25006" });
  }
  return link;
}

class OurLink implements Link {
  readonly #wire: Wire;
  readonly #request: LinkRequest;
  #sql: Sql | undefined;
  readonly #asked = new Pending<Query>();
  #state: "new" | "connecting" | "open" | "closed" = "new";

  constructor(wire: Wire, request: LinkRequest) {
    this.#wire = wire;
    this.#request = request;
  }

  /** The one socket that the client gets: it would connect again by itself. */
  wire(): Wire {
    if (this.#state !== "new" || this.#wire.isOver) throw this.#wire.error ?? closedEarly();
    this.#state = "connecting";
    return this.#wire;
  }

  /** Logs in; resolves with whether the server is a standby. */
  async start(sql: Sql): Promise<readonly Row[]> {
    this.#sql = sql;
    try {
      const rows = await this.#ask("SELECT pg_catalog.pg_is_in_recovery()::text");
      this.#state = "open";
      return rows;
    } catch (error) {
      throw this.#wire.error ?? error;
    }
  }

  get pid(): number | undefined {
    return this.#wire.pid;
  }

  query(text: string): Promise<readonly Row[]> {
    return this.#state === "open" ? this.#ask(text) : Promise.reject(unsent(this.#end()));
  }

  #ask(text: string): Promise<readonly Row[]> {
    const query = ask(this.#sql!, text);
    return this.#asked.wait(query, query.then(rowsOf));
  }

  /** The client has seen the end of the connection. */
  ended(): void {
    const wasOpen = this.#state === "open";
    this.#finish();
    if (wasOpen) this.#request.down(this.#end());
  }

  close(): void {
    const wasOpen = this.#state === "open";
    this.#finish();
    if (wasOpen) this.#wire.hangUp();
    else this.#wire.destroy();
  }

  #finish(): void {
    this.#state = "closed";
    this.#asked.giveUp(({ state }) => state === null ? unsent(this.#end()) : this.#end());
  }

  #end(): Error {
    return this.#wire.error ?? new Error("the connection was closed");
  }
}

/** What was surely not sent says so. */
function unsent(cause: Error): Error {
  return Object.assign(new Error(cause.message, { cause }), cause, { unsent: true });
}
