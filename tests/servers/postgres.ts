/** Postgres: a single server, a primary with a replica, and PgBouncer before a server. */

import { chmodSync, copyFileSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { type Certificates, certificates } from "./certificates.ts";
import { binary } from "./install.ts";
import { freePort, HOST, run, ServerProcess, until } from "./process.ts";
import { dataFolder } from "./reaper.ts";
import { disposeAll, Server } from "./server.ts";
import { handOver, unprivileged } from "./user.ts";

/** How a Postgres server is started. */
export interface PostgresOptions {
  /** Further arguments: `["-c", "fsync=off"]`. */
  readonly args?: readonly string[];
  /** Serve TLS only, with these or certificates of its own. */
  readonly tls?: boolean | Certificates;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: a free one. */
  readonly port?: number;
  /** Lines of pg_hba.conf for who may connect over TCP. Default: all roles, without a password. */
  readonly hba?: readonly string[];
}

/** Where a server is reached, or a proxy before it. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** One Postgres server, with the superuser and the database `postgres`. Its data survives a restart. */
export class PostgresServer extends Server {
  /** With TLS: the authority that signed the server's certificate, and a pair for clients. */
  readonly certificates: Certificates | undefined;
  /** Of its Unix socket, over which every role is trusted, and of its data. */
  readonly folder: string;

  private constructor(port: number, process: ServerProcess, folder: string, tls: Certificates | undefined) {
    super(port, process);
    this.folder = folder;
    this.certificates = tls;
  }

  /** Resolves once it answers a query. */
  static start(options: PostgresOptions = {}): Promise<PostgresServer> {
    return PostgresServer.#start(options, async (data) => {
      template ??= initialize();
      await runUnprivileged("cp", ["-R", await template, data], dirname(data));
    });
  }

  /** Starts a streaming replica of a server that lets it in. */
  static follow(primary: Address, options: PostgresOptions = {}): Promise<PostgresServer> {
    return PostgresServer.#start(options, async (data) => {
      const address = ["-h", primary.host, "-p", `${primary.port}`, "-U", "postgres"];
      const how = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"];
      const program = await postgresProgram("pg_basebackup");
      await runUnprivileged(program, [...address, ...how, "-D", data], dirname(data));
    });
  }

  static async #start(
    options: PostgresOptions,
    fill: (data: string) => Promise<void>,
  ): Promise<PostgresServer> {
    const server = await postgresProgram("postgres");
    const psql = await postgresProgram("psql");
    const port = options.port ?? await freePort();
    const folder = ownFolder("postgres");
    const data = join(folder, "data");
    const tls = options.tls === true ? await certificates(folder) : options.tls || undefined;
    await fill(data);
    writeFileSync(join(data, "pg_hba.conf"), hba(options).join("\n") + "\n");
    // The environment is for the server alone: under libfaketime, the user could not be changed.
    const env = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
    const [outer, args] = unprivileged("env", [
      ...[...env, server],
      ...["-D", data, "-p", `${port}`],
      ...settings({ listen_addresses: HOST, unix_socket_directories: folder }),
      // A server that is killed leaves what it shares in its own folder.
      ...settings({ dynamic_shared_memory_type: "mmap" }),
      // After a kill, a sync file by file takes seconds.
      ...(process.platform === "linux" ? settings({ recovery_init_sync_method: "syncfs" }) : []),
      ...settings({ wal_retrieve_retry_interval: "100ms" }), // a replica is back at once, not after 5 s
      ...(tls ? settings({ ssl: "on", ...ownCertificates(tls, folder) }) : []),
      ...options.args ?? [],
    ]);
    const started = await ServerProcess.start({
      name: "postgres",
      binary: outer,
      args,
      folder,
      forks: true,
      ready: async () => await query(psql, folder, port, "select 1") === "1",
    });
    return new PostgresServer(port, started, folder, tls);
  }

  /** `postgres://postgres@127.0.0.1:port/postgres`; TLS is asked for by a client's own option. */
  get url(): string {
    return `postgres://postgres@${this.host}:${this.port}/postgres`;
  }

  /** What psql prints for a statement: the rows' values, with `|` between them. */
  async sql(text: string, database?: string): Promise<string> {
    return query(await postgresProgram("psql"), this.folder, this.port, text, database);
  }

  /** See {@linkcode ServerProcess.restart}. On SIGTERM, the server would wait for its clients to leave. */
  override restart(signal: NodeJS.Signals = "SIGINT"): Promise<void> {
    return super.restart(signal);
  }

  /** Ends it and removes its data. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.kill("SIGQUIT"); // it ends at once, yet gives back the memory that it shares
    await freeSharedMemory(join(this.folder, "data/postmaster.pid"));
    await super[Symbol.asyncDispose]();
  }
}

/** How a primary and its replica are started. */
export interface PostgresPairOptions {
  /**
   * Whether the replica shows all that the primary has committed; without the replica, the primary then commits
   * nothing. Default false.
   */
  readonly synchronous?: boolean;
  /** Further arguments for both: `["-c", "fsync=off"]`. */
  readonly args?: readonly string[];
}

/** A primary and a replica that streams from it. */
export class PostgresPair implements AsyncDisposable {
  /** The server that takes writes, until the replica is promoted. */
  readonly primary: PostgresServer;
  readonly replica: PostgresServer;

  private constructor(primary: PostgresServer, replica: PostgresServer) {
    this.primary = primary;
    this.replica = replica;
  }

  /** Resolves once the replica follows. */
  static async start(options: PostgresPairOptions = {}): Promise<PostgresPair> {
    const { synchronous, args = [] } = options;
    const wait = settings({ synchronous_standby_names: "*", synchronous_commit: "remote_apply" });
    const primary = await PostgresServer.start({ args: [...synchronous ? wait : [], ...args] });
    const pair = new PostgresPair(primary, await PostgresServer.follow(primary, { args }));
    await pair.replicated();
    return pair;
  }

  /** Waits until the replica shows all that was written to the primary so far. */
  async replicated(): Promise<void> {
    const written = await this.primary.sql("select pg_current_wal_lsn()");
    const shown = `select pg_last_wal_replay_lsn() >= '${written}' and exists (
      select from pg_stat_wal_receiver where status = 'streaming')`;
    await until(
      async () => await this.replica.sql(shown) === "t",
      () => `the replica does not follow:\n${this.replica.process.log()}`,
    );
  }

  /** Makes the replica a primary; resolves once it takes writes. The former one is left as it is. */
  async promote(): Promise<void> {
    const data = join(this.replica.folder, "data");
    await runUnprivileged(await postgresProgram("pg_ctl"), ["promote", "-D", data], this.replica.folder);
    await until(
      async () => await this.replica.sql("select pg_is_in_recovery()") === "f",
      () => `the replica takes no writes:\n${this.replica.process.log()}`,
    );
  }

  /** Ends both. */
  [Symbol.asyncDispose](): Promise<void> {
    return disposeAll([this.primary, this.replica]);
  }
}

/** How PgBouncer is started. */
export interface PgBouncerOptions {
  /** For how long a client has a connection of the server. Default "transaction". */
  readonly mode?: "session" | "transaction" | "statement";
  /** How many of a client's prepared statements it keeps across transactions; PgBouncer 1.21 and later. */
  readonly maxPreparedStatements?: number;
  /** Further lines of its configuration: `["default_pool_size = 1"]`. */
  readonly settings?: readonly string[];
}

/** A connection pooler before a Postgres server. */
export class PgBouncer extends Server {
  /** Resolves once a query passes through it. */
  static async start(server: Address, options: PgBouncerOptions = {}): Promise<PgBouncer> {
    const { mode = "transaction", maxPreparedStatements } = options;
    const program = await binary("pgbouncer");
    const psql = await postgresProgram("psql");
    const port = await freePort();
    const folder = ownFolder("pgbouncer");
    const file = join(folder, "pgbouncer.ini");
    writeFileSync(
      file,
      [
        "[databases]",
        `* = host=${server.host} port=${server.port} user=postgres`,
        "[pgbouncer]",
        `listen_addr = ${HOST}`,
        `listen_port = ${port}`,
        "unix_socket_dir =",
        "auth_type = any",
        "server_tls_sslmode = prefer",
        `pool_mode = ${mode}`,
        "server_login_retry = 0.1", // a server that is back is used at once, not after 15 s
        ...(maxPreparedStatements === undefined
          ? []
          : [`max_prepared_statements = ${maxPreparedStatements}`]),
        ...options.settings ?? [],
      ].join("\n") + "\n",
    );
    const [outer, args] = unprivileged(program, [file]);
    const started = await ServerProcess.start({
      name: "pgbouncer",
      binary: outer,
      args,
      folder,
      ready: async () => await query(psql, HOST, port, "select 1") === "1",
    });
    return new PgBouncer(port, started);
  }

  /** `postgres://postgres@127.0.0.1:port/postgres`. */
  get url(): string {
    return `postgres://postgres@${this.host}:${this.port}/postgres`;
  }

  /** What psql prints for a statement; in the database `pgbouncer`, one to PgBouncer itself: `SHOW POOLS`. */
  async sql(text: string, database?: string): Promise<string> {
    return query(await postgresProgram("psql"), this.host, this.port, text, database);
  }

  /** See {@linkcode ServerProcess.restart}. On milder signals, newer ones wait for their clients to leave. */
  override restart(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    return super.restart(signal);
  }
}

/** A fresh data folder, made once and copied for each server: that takes a twentieth of the time. */
let template: Promise<string> | undefined;

async function initialize(): Promise<string> {
  const folder = ownFolder("postgres-template");
  const data = join(folder, "data");
  await runUnprivileged(await postgresProgram("initdb"), [
    ...["-D", data, "--username=postgres", "--auth=trust", "--no-sync"],
    ...["--encoding=UTF8", "--locale=C"],
  ], folder);
  return data;
}

/** One of the programs that come with the server, in its version. */
async function postgresProgram(name: string): Promise<string> {
  return join(dirname(realpathSync(await binary("postgres"))), name);
}

function ownFolder(name: string): string {
  const folder = dataFolder(name);
  handOver(folder);
  return folder;
}

function runUnprivileged(program: string, args: readonly string[], cwd: string): Promise<string> {
  return run(...unprivileged(program, args), { cwd });
}

function settings(values: Record<string, string>): string[] {
  return Object.entries(values).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

function hba({ tls, hba }: PostgresOptions): string[] {
  const over = tls ? "hostssl" : "host";
  const all = ["all", "replication"].map((database) => `${over} ${database} all ${HOST}/32 trust`);
  return ["local all all trust", ...hba ?? all];
}

/** Postgres takes a key only from a file that is its user's and no one else can read. */
function ownCertificates(tls: Certificates, folder: string): Record<string, string> {
  const copy = (path: string, name: string) => {
    const own = join(folder, name);
    copyFileSync(path, own);
    chmodSync(own, 0o600);
    handOver(own);
    return own;
  };
  return {
    ssl_ca_file: copy(tls.ca, "server-ca.pem"),
    ssl_cert_file: copy(tls.cert, "server-cert.pem"),
    ssl_key_file: copy(tls.key, "server-key.pem"),
  };
}

/** Of a server that was killed, and so has left its lock file, which names the memory in its seventh line. */
async function freeSharedMemory(lockFile: string): Promise<void> {
  let id: string | undefined;
  try {
    id = readFileSync(lockFile, "utf8").split("\n")[6]?.trim().split(/\s+/)[1];
  } catch {
    return; // it has ended in good order
  }
  if (id) await run("ipcrm", ["-m", id]).catch(() => {});
}

async function query(
  psql: string,
  host: string,
  port: number,
  text: string,
  database = "postgres",
): Promise<string> {
  const where = ["-h", host, "-p", `${port}`, "-U", "postgres", "-d", database];
  const how = ["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "-v", "ON_ERROR_STOP=1"];
  return (await run(psql, [...where, ...how, "-c", text], { timeout: 30_000 })).trimEnd();
}
