import type { Call } from "../../../internal/backend.ts";
import { refused } from "../../shared/errors.ts";
import { ServerTime } from "../../shared/server_time.ts";
import { codeOf, leadsElsewhere, postgresError } from "./errors.ts";
import { CLOCK, identifier } from "./literal.ts";
import type { Link, Route, Row } from "./link.ts";

/** Milliseconds that a connection may be silent, and that opening one may take, however little time a call has. */
const SILENCE = 300;
const OPENING = 1_000;

/**
 * What a message begins with. Roles and databases can have other defaults: under `serializable` a function that
 * has waited for a row would be refused for what has changed meanwhile. It costs as much as half a function does.
 */
const BEGIN = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;";

/** What is asked first. */
const HELLO = `SELECT current_setting('server_version_num') AS a, pg_is_in_recovery()::text AS b,
  pg_backend_pid()::text AS c, current_setting('default_transaction_isolation') AS d,
  current_setting('default_transaction_read_only') AS e`;

/** SQLSTATEs of what has been dropped: the schema, a table, a function, a type. */
const DROPPED = ["3F000", "42P01", "42883", "42704"];

/** What has to be in the database, and what it is made by. */
export interface Schema {
  /** The number that `version()` in the schema has to return. */
  readonly version: number;
  /** Makes everything, in one transaction. */
  readonly sql: string;
}

/** A link on its way. */
interface Opening {
  readonly since: number;
  readonly link: Promise<Link>;
  readonly abandon: AbortController;
}

/** A statement that was sent. */
interface Sent {
  readonly since: number;
  readonly timeout: number;
  readonly reject: (error: unknown) => void;
}

/**
 * The way to Postgres: opened by the first call that needs it, and again by the first call after it broke. Nothing is
 * queued meanwhile and nothing is repeated.
 */
export class Connection {
  readonly #route: Route;
  readonly #schema: Schema;
  #link: Link | undefined;
  #opening: Opening | undefined;
  readonly #sent = new Set<Sent>();
  /** What functions are called in: nothing, where the session is our own and has these defaults. */
  #begin = BEGIN;
  /** Whether something of the schema was missing, although its version was there. */
  #isDamaged = false;
  /** When the server was last heard of. */
  #heard = 0;
  /** The server's clock. */
  readonly time: ServerTime = new ServerTime();

  constructor(route: Route, schema: Schema) {
    this.#route = route;
    this.#schema = schema;
  }

  /** Where it leads, without credentials. */
  get place(): string {
    return this.#route.place;
  }

  /** The link, opened if there is none. */
  ready(call: Call): Link | Promise<Link> {
    if (this.#link === undefined) return this.#opened(call);
    if (!this.#isSilent(call)) return this.#link;
    this.#drop(refused("reach Postgres", "the connection is of no more use"));
    return this.#opened(call);
  }

  /**
   * Evaluates expressions, one after the other, in one transaction and one round trip; resolves with their values as
   * text.
   */
  async evaluate(expressions: readonly string[], call: Call): Promise<Row> {
    const all = [`set_config('lock_timeout', '${patience(call)}', true)`, ...expressions];
    const columns = all.map((expression, n) => `(${expression})::text AS c${n}`).join(", ");
    const [row] = await this.#ask(() => `${this.#begin}SELECT ${columns}`, call);
    if (row?.length !== all.length) throw refused("ask Postgres", "the answer is not what was asked for");
    return row.slice(1);
  }

  /**
   * Sends one statement; resolves with its rows. It waits for rows and tables that others have locked for no more than
   * half of the call's time.
   */
  query(statement: string, call: Call): Promise<readonly Row[]> {
    return this.#ask(() => `${BEGIN}SET LOCAL lock_timeout = ${patience(call)};${statement}`, call);
  }

  /** Closes what was opened. A later call opens it again. */
  close(): void {
    this.#opening?.abandon.abort(refused("connect to Postgres", "it was closed"));
    this.#opening = undefined;
    if (this.#link !== undefined) this.#drop(refused("ask Postgres", "the connection was closed"));
  }

  /** Calls have come and gone unanswered, and nothing will come out of this link any more. */
  #isSilent({ timeout }: Call): boolean {
    const [oldest] = this.#sent;
    if (oldest === undefined) return false;
    const silent = performance.now() - Math.max(oldest.since, this.#heard);
    return silent > Math.max(oldest.timeout, timeout, SILENCE);
  }

  #opened(call: Call): Promise<Link> {
    const since = performance.now();
    if (this.#opening === undefined || since - this.#opening.since > Math.max(call.timeout, OPENING)) {
      // An opening that takes longer than a call may take leads nowhere.
      this.#opening?.abandon.abort(refused("connect to Postgres", "it takes too long"));
      const abandon = new AbortController();
      this.#opening = { since, abandon, link: this.#connect(abandon.signal) };
    }
    return this.#opening.link;
  }

  async #connect(abandoned: AbortSignal): Promise<Link> {
    let link: Link | undefined;
    abandoned.addEventListener("abort", () => link?.close(), { once: true });
    try {
      link = await this.#route.open({
        abandoned,
        down: (error) => {
          if (link !== undefined && this.#link === link) this.#drop(error);
        },
      });
      await this.#greet(link);
      abandoned.throwIfAborted();
      this.#opening = undefined;
      return this.#link = link;
    } catch (error) {
      link?.close();
      if (!abandoned.aborted) this.#opening = undefined;
      const failed = postgresError(
        `connect to Postgres at ${this.place}`,
        abandoned.aborted ? abandoned.reason : error,
      );
      throw Object.assign(failed, { unsent: true }); // the call itself
    }
  }

  /** Looks whether the server is fit, makes the schema if there is none, and learns the time. */
  async #greet(link: Link): Promise<void> {
    const { version, sql } = this.#schema;
    const [[server, standby, pid, isolation, readOnly] = []] = await this.#send(link, HELLO, OPENING);
    const greet = "greet Postgres";
    if (standby !== "false") throw refused(greet, "this server is a standby, which takes no writes");
    if (!(Number(server) >= 140_000)) {
      throw refused(greet, `its version is ${server}`, { hint: "14 or later is needed", retryable: false });
    }
    const ask = `${BEGIN}SELECT ${CLOCK}::text AS a, ${identifier(this.#route.schema)}.version()::text AS b`;
    const make = () => this.#send(link, BEGIN + sql, 10 * OPENING);
    if (this.#isDamaged) {
      this.#isDamaged = false;
      await make();
    }
    let asked = performance.now();
    const [[time, found] = []] = await this.#send(link, ask, OPENING).catch(async (error) => {
      if (!DROPPED.includes(codeOf(error))) throw error;
      await make();
      asked = performance.now();
      return await this.#send(link, ask, OPENING);
    });
    if (Number(found) !== version) {
      const hint = Number(found) > version
        ? "update @holdfast/lock here, or give this one a `schema` of its own"
        : "run the SQL that `deno run jsr:@holdfast/lock/postgres` prints";
      const said = `the schema ${this.#route.schema} has version ${found}, and ${version} is needed`;
      throw refused(greet, said, { hint, retryable: false });
    }
    const isPlain = `${link.pid}` === pid && isolation === "read committed" && readOnly === "off";
    this.#begin = isPlain ? "" : BEGIN;
    this.time.forget();
    this.time.learn(Number(time), asked);
  }

  /** The text is made when the link stands. */
  async #ask(text: () => string, call: Call): Promise<readonly Row[]> {
    const link = await this.ready(call);
    try {
      return await this.#send(link, text(), call.timeout);
    } catch (error) {
      const isDamaged = DROPPED.includes(codeOf(error));
      this.#isDamaged ||= isDamaged;
      if (this.#link === link && (isDamaged || leadsElsewhere(error))) this.#drop(error);
      throw postgresError(`ask Postgres at ${this.place}`, error);
    }
  }

  #send(link: Link, text: string, timeout: number): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      const sent: Sent = { since: performance.now(), timeout, reject };
      this.#sent.add(sent);
      const answered = () => {
        if (this.#sent.delete(sent)) this.#heard = performance.now();
      };
      link.query(text).then((rows) => {
        answered();
        resolve(rows);
      }, (error) => {
        answered();
        reject(error);
      });
    });
  }

  /** What was sent and not answered may have been done, whatever it is that ends the link. */
  #drop(error: unknown): void {
    const link = this.#link;
    this.#link = undefined;
    const sent = [...this.#sent];
    this.#sent.clear();
    link?.close();
    const said = error instanceof Error ? error.message : String(error);
    for (const { reject } of sent) reject(refused(`ask Postgres at ${this.place}`, said));
  }
}

/** Milliseconds: how long a transaction waits for rows and tables that others have locked. */
function patience({ timeout }: Call): number {
  return Math.round(Math.min(Math.max(timeout / 2, 20), 60_000));
}
