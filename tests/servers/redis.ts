/** Redis: a single server, a Sentinel set, a Cluster. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Certificates, certificates } from "./certificates.ts";
import { binary } from "./install.ts";
import { freePort, freePorts, HOST, run, ServerProcess, until } from "./process.ts";
import { dataFolder } from "./reaper.ts";
import { disposeAll, Server } from "./server.ts";

/** How a Redis server is started. */
export interface RedisOptions {
  /** Further arguments: `["--appendonly", "yes"]`, `["--user", "app on >secret ~* +@all"]`. */
  readonly args?: readonly string[];
  /** Serve TLS only, with these or certificates of its own. */
  readonly tls?: boolean | Certificates;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: a free one. */
  readonly port?: number;
}

/** One Redis server; without persistence unless asked for, so that a restart loses its data. */
export class RedisServer extends Server {
  /** With TLS: the authority that signed the server's certificate, and a pair for clients. */
  readonly certificates: Certificates | undefined;
  readonly #cli: string;

  private constructor(port: number, tls: Certificates | undefined, process: ServerProcess, cli: string) {
    super(port, process);
    this.certificates = tls;
    this.#cli = cli;
  }

  /** Resolves once it answers. */
  static async start(options: RedisOptions = {}): Promise<RedisServer> {
    const [server, cli] = await Promise.all([binary("redis-server"), binary("redis-cli")]);
    const port = options.port ?? await freePort();
    const folder = dataFolder("redis");
    const tls = options.tls === true ? await certificates(folder) : options.tls || undefined;
    const process = await ServerProcess.start({
      name: "redis-server",
      binary: server,
      args: [
        ...(tls
          ? ["--port", "0", "--tls-port", `${port}`, "--tls-auth-clients", "optional"]
          : ["--port", `${port}`]),
        ...(tls
          ? ["--tls-ca-cert-file", tls.ca, "--tls-cert-file", tls.cert, "--tls-key-file", tls.key]
          : []),
        ...["--bind", HOST, "--dir", folder, "--save", ""],
        ...["--repl-diskless-sync-delay", "0"], // replicas follow at once, not after 5 s
        ...options.args ?? [],
      ],
      env: options.env,
      folder,
      // A server that wants a password answers too, if only NOAUTH.
      ready: async () => /PONG|NOAUTH|NOPERM/.test(await redisCli(cli, port, ["ping"], tls)),
    });
    return new RedisServer(port, tls, process, cli);
  }

  /** `redis://127.0.0.1:port`, `rediss:` with TLS. */
  get url(): string {
    return `${this.certificates ? "rediss" : "redis"}://${this.host}:${this.port}`;
  }

  /** What redis-cli prints for a command; give `--user`, `--pass` in front where needed. */
  cli(...args: string[]): Promise<string> {
    return redisCli(this.#cli, this.port, args, this.certificates);
  }

  /**
   * Waits until so many replicas have acknowledged all that was written so far: one that has just
   * joined is called online up to a second before it is sent anything.
   */
  async replicated(replicas = 1): Promise<void> {
    const info = async () => await this.cli("info", "replication");
    const written = Number(/master_repl_offset:(\d+)/.exec(await info())?.[1]);
    await until(async () => {
      const followers = (await info()).matchAll(/state=online,offset=(\d+)/g);
      return [...followers].filter(([, offset]) => Number(offset) >= written).length >= replicas;
    }, () => `the replicas do not follow:\n${this.process.log()}`);
  }
}

/**
 * Milliseconds of silence after which others call a server of a set down: so many that no busy machine makes it so,
 * until a test wants a failover, and waits for nothing else.
 */
const PATIENT = 60_000;
const IMPATIENT = 1_000;

/** A master with replicas, watched by Sentinels that, once impatient, fail over within about two seconds. */
export class RedisSentinels implements AsyncDisposable {
  /** The name the Sentinels know the master by. */
  readonly name: string = "holdfast";
  /** The data servers: the first one started as the master. */
  readonly servers: readonly RedisServer[];
  /** The Sentinels. */
  readonly sentinels: readonly Server[];
  readonly #cli: string;

  private constructor(servers: RedisServer[], sentinels: Server[], cli: string) {
    this.servers = servers;
    this.sentinels = sentinels;
    this.#cli = cli;
  }

  /** Resolves once every Sentinel knows the master, the replicas and the other Sentinels. */
  static async start(options: { replicas?: number; sentinels?: number } = {}): Promise<RedisSentinels> {
    const { replicas = 1, sentinels = 3 } = options;
    const [program, cli] = await Promise.all([binary("redis-sentinel"), binary("redis-cli")]);
    const master = await RedisServer.start();
    const servers = [master];
    for (let n = 0; n < replicas; n++) {
      servers.push(await RedisServer.start({ args: ["--replicaof", HOST, `${master.port}`] }));
    }
    await master.replicated(replicas);
    const started = (await freePorts(sentinels)).map((port) => {
      const folder = dataFolder("sentinel");
      const file = join(folder, "sentinel.conf"); // Sentinel rewrites it
      writeFileSync(
        file,
        [
          `port ${port}`,
          `bind ${HOST}`,
          `dir "${folder}"`,
          `sentinel monitor holdfast ${HOST} ${master.port} ${Math.floor(sentinels / 2) + 1}`,
          `sentinel down-after-milliseconds holdfast ${PATIENT}`,
          "sentinel failover-timeout holdfast 3000",
        ].join("\n"),
      );
      const known = new RegExp(`^num-slaves ${replicas}$.*^num-other-sentinels ${sentinels - 1}$`, "ms");
      const process = ServerProcess.launch({
        name: "redis-sentinel",
        binary: program,
        args: [file],
        folder,
        ready: async () => known.test(pairs(await redisCli(cli, port, ["sentinel", "master", "holdfast"]))),
      });
      return new Server(port, process);
    });
    await Promise.all(started.map((sentinel) => sentinel.process.ready()));
    return new RedisSentinels(servers, started, cli);
  }

  /** What redis-cli prints for a command to the first Sentinel. */
  ask(...args: string[]): Promise<string> {
    return redisCli(this.#cli, this.sentinels[0]!.port, args);
  }

  /** The server that the Sentinels now call the master. */
  async master(): Promise<RedisServer> {
    for (const { port, process } of this.sentinels) {
      if (!process.running) continue;
      const reply = await redisCli(this.#cli, port, ["sentinel", "get-master-addr-by-name", this.name]);
      const found = this.servers.find((server) => reply.split("\n")[1] === `${server.port}`);
      if (found) return found;
    }
    throw new Error("No Sentinel knows the master");
  }

  /** From now on the Sentinels call down who has been silent for a second, and no longer only for a minute. */
  async impatient(): Promise<void> {
    const set = ["sentinel", "set", this.name, "down-after-milliseconds", `${IMPATIENT}`];
    const running = this.sentinels.filter(({ process }) => process.running);
    await Promise.all(running.map(({ port }) => redisCli(this.#cli, port, set)));
  }

  /** Waits until another server than this one is the master, and writable. */
  async promoted(instead: RedisServer): Promise<RedisServer> {
    await this.impatient();
    let now = instead;
    await until(async () => {
      now = await this.master().catch(() => instead);
      return now !== instead && (await now.cli("role")).startsWith("master");
    }, () => `nobody took over:\n${this.sentinels[0]?.process.log()}`);
    return now;
  }

  /** Kills everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await disposeAll(this.sentinels);
    await disposeAll(this.servers);
  }
}

/** Three masters that share the slots, with `replicas` replicas each. */
export class RedisCluster implements AsyncDisposable {
  readonly servers: readonly RedisServer[];

  private constructor(servers: RedisServer[]) {
    this.servers = servers;
  }

  /** Resolves once every node says the cluster is up. With `tls`, the certificate of all is for those names. */
  static async start(options: { replicas?: number; tls?: string } = {}): Promise<RedisCluster> {
    const { replicas = 0 } = options;
    const tls = options.tls ? await certificates(dataFolder("certificates"), options.tls) : undefined;
    const count = 3 * (1 + replicas);
    const ports = await freePorts(count, true); // the nodes talk on port + 10 000
    const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", `${PATIENT}`];
    if (tls) args.push("--tls-cluster", "yes", "--tls-replication", "yes");
    const servers = await Promise.all(ports.map((port) => RedisServer.start({ port, args, tls })));
    await run(await binary("redis-cli"), [
      ...security(tls),
      ...["--cluster", "create", ...ports.map((port) => `${HOST}:${port}`)],
      ...["--cluster-replicas", `${replicas}`, "--cluster-yes"],
    ]);
    const cluster = new RedisCluster(servers);
    await Promise.all(servers.map((server) => cluster.#settled(server, count)));
    for (const server of servers) {
      // A replica that never had its master's data cannot take over.
      if ((await server.cli("role")).startsWith("master")) await server.replicated(replicas);
    }
    return cluster;
  }

  /** The first node is enough: clients find the others. */
  get url(): string {
    return this.servers[0]!.url;
  }

  /** The master that serves a key. */
  async master(key: string): Promise<RedisServer> {
    const alive = this.servers.filter((server) => server.process.running);
    const slot = Number(await alive[0]!.cli("cluster", "keyslot", key));
    for (const server of alive) {
      if (!(await server.cli("role")).startsWith("master")) continue;
      const own = (await server.cli("cluster", "nodes")).split("\n").find((line) => line.includes("myself"));
      const ranges = own?.split(" ").slice(8).map((range) => range.split("-").map(Number)) ?? [];
      if (ranges.some(([from = 0, to = from]) => from <= slot && slot <= to)) return server;
    }
    throw new Error(`No master serves slot ${slot}`);
  }

  /** From now on these nodes, or all that run, soon call down who is silent, and not only after a minute. */
  async impatient(nodes = this.servers.filter((server) => server.process.running)): Promise<void> {
    const set = ["config", "set", "cluster-node-timeout", `${1.5 * IMPATIENT}`];
    await Promise.all(nodes.map((server) => server.cli(...set)));
  }

  /** Waits until another server than this one serves the key. */
  async promoted(key: string, instead: RedisServer): Promise<RedisServer> {
    await this.impatient();
    let now = instead;
    await until(async () => {
      now = await this.master(key).catch(() => instead);
      return now !== instead && (await now.cli("cluster", "info")).includes("cluster_state:ok");
    }, () => `nobody took over:\n${this.servers.map((server) => server.process.log(5)).join("\n")}`);
    return now;
  }

  /** Kills everything. */
  [Symbol.asyncDispose](): Promise<void> {
    return disposeAll(this.servers);
  }

  #settled(server: RedisServer, count: number): Promise<void> {
    return until(async () => {
      const info = await server.cli("cluster", "info");
      return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${count}`);
    }, () => `the cluster does not form:\n${server.process.log()}`);
  }
}

/** redis-cli prints a map as a name and a value a line: puts each pair on one line. */
function pairs(reply: string): string {
  return reply.replaceAll(/(.*)\n(.*)\n/g, "$1 $2\n");
}

function redisCli(cli: string, port: number, args: string[], tls?: Certificates): Promise<string> {
  return run(cli, ["-h", HOST, "-p", `${port}`, ...security(tls), ...args], { timeout: 5_000 });
}

function security(tls: Certificates | undefined): string[] {
  return tls ? ["--tls", "--cacert", tls.ca, "--cert", tls.cert, "--key", tls.key] : [];
}
