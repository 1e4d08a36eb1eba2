/** ZooKeeper: a single server, and an ensemble of three. */

import { writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { dirname, join } from "node:path";
import { binary } from "./install.ts";
import { freePort, freePorts, HOST, ServerProcess, until } from "./process.ts";
import { Proxy } from "./proxy.ts";
import { dataFolder } from "./reaper.ts";
import { disposeAll, Server } from "./server.ts";

/** How ZooKeeper is started. */
export interface ZooKeeperOptions {
  /** Milliseconds. Default 500: sessions from 1 s to 10 s. */
  readonly tickTime?: number;
  /** Further lines of zoo.cfg: `["maxSessionTimeout=60000"]`. */
  readonly config?: readonly string[];
  /** Arguments of the Java machine: `["-Dzookeeper.superUser=..."]`. */
  readonly java?: readonly string[];
  /** For clients, of a single server. Default: a free one. */
  readonly port?: number;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One ZooKeeper server, or one member of an ensemble. Its data, sessions included, survives a restart. */
export class ZooKeeperServer extends Server {
  /** Resolves once it serves. */
  static async start(options: ZooKeeperOptions = {}): Promise<ZooKeeperServer> {
    const port = options.port ?? await freePort();
    const server = await ZooKeeperServer.launch(port, [], 1, options);
    await server.process.ready();
    return server;
  }

  /** Starts one member, without waiting. `members`: the `server.N=` lines as this member sees them. */
  static async launch(
    port: number,
    members: readonly string[],
    id: number,
    options: ZooKeeperOptions,
  ): Promise<ZooKeeperServer> {
    const { tickTime = 500, config = [], java = [], env } = options;
    const [program, jar] = await Promise.all([binary("java"), binary("zookeeper.jar")]);
    const folder = dataFolder("zookeeper");
    const file = join(folder, "zoo.cfg");
    writeFileSync(join(folder, "myid"), `${id}`);
    writeFileSync(
      file,
      [
        `tickTime=${tickTime}`,
        "initLimit=20",
        "syncLimit=4",
        `dataDir=${folder}`,
        `clientPortAddress=${HOST}`,
        `clientPort=${port}`,
        "maxClientCnxns=0",
        "admin.enableServer=false",
        "4lw.commands.whitelist=*",
        ...members,
        ...config,
      ].join("\n"),
    );
    const log = join(dirname(jar), "slf4j-simple.jar"); // Debian's ZooKeeper brings none that prints
    const main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
    const server = ServerProcess.launch({
      name: "zookeeper",
      binary: program,
      args: [...["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"], ...java, ...[
        "-cp",
        `${jar}:${log}`,
        main,
        file,
      ]],
      env,
      folder,
      ready: async () => /^Mode: /m.test(await sayTo(port, "srvr")),
    });
    return new ZooKeeperServer(port, server);
  }

  /** `127.0.0.1:port`. */
  get address(): string {
    return `${this.host}:${this.port}`;
  }

  /** "standalone", "leader" or "follower". */
  async mode(): Promise<string> {
    return /^Mode: (.*)$/m.exec(await this.word("srvr"))?.[1] ?? "none";
  }

  /** The reply to a four-letter word: "cons", "dump", "mntr", "wchp" ... */
  word(word: string): Promise<string> {
    return sayTo(this.port, word);
  }
}

/** Three members. */
export class ZooKeeperEnsemble implements AsyncDisposable {
  readonly servers: readonly ZooKeeperServer[];
  /** By two members: what the one's traffic to the other goes through, if asked for. */
  readonly #links: ReadonlyMap<string, Proxy>;

  private constructor(servers: ZooKeeperServer[], links: Map<string, Proxy>) {
    this.servers = servers;
    this.#links = links;
  }

  /**
   * Resolves once there is a leader and every member serves. `partitions` lets them be isolated: their
   * traffic then passes through this process, and stands still while that does.
   */
  static async start(
    options: ZooKeeperOptions & { readonly partitions?: boolean } = {},
  ): Promise<ZooKeeperEnsemble> {
    const count = 3;
    const clients = await freePorts(count);
    const quorum = await freePorts(count);
    const election = await freePorts(count);
    const links = new Map<string, Proxy>();
    const servers: ZooKeeperServer[] = [];
    for (let self = 0; self < count; self++) {
      const members: string[] = [];
      for (let other = 0; other < count; other++) {
        let port = quorum[other]!;
        if (other !== self && options.partitions) {
          const proxy = await Proxy.start({ port, patience: 2_000 }); // a new leader needs a moment to listen
          links.set(`${self}-${other}`, proxy);
          port = proxy.port;
        }
        members.push(`server.${other + 1}=${HOST}:${port}:${election[other]}`);
      }
      servers.push(await ZooKeeperServer.launch(clients[self]!, members, self + 1, options));
    }
    await Promise.all(servers.map((server) => server.process.ready()));
    return new ZooKeeperEnsemble(servers, links);
  }

  /** `h1:p1,h2:p2,h3:p3`. */
  get address(): string {
    return this.servers.map((server) => server.address).join(",");
  }

  /** The leader, by its own word; waits until there is one, other than `except`. */
  async leader(except?: ZooKeeperServer): Promise<ZooKeeperServer> {
    let found: ZooKeeperServer | undefined;
    await until(async () => {
      for (const server of this.servers) {
        if (server !== except && await server.mode().catch(() => "none") === "leader") found = server;
      }
      return found !== undefined;
    }, () => `no leader:\n${this.servers.map((server) => server.process.log(5)).join("\n")}`);
    return found!;
  }

  /** The members that follow. */
  async followers(): Promise<ZooKeeperServer[]> {
    const modes = await Promise.all(this.servers.map((server) => server.mode().catch(() => "none")));
    return this.servers.filter((_, index) => modes[index] === "follower");
  }

  /** Cuts a member's traffic with the others; its clients still reach it. Elections are not cut. */
  isolate(server: ZooKeeperServer): void {
    if (this.#links.size === 0) throw new Error("Start the ensemble with `partitions: true`");
    const index = this.servers.indexOf(server);
    for (const [ends, proxy] of this.#links) if (ends.split("-").includes(`${index}`)) proxy.cut();
  }

  /** Ends every isolation. */
  heal(): void {
    for (const proxy of this.#links.values()) proxy.heal();
  }

  /** Kills everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    await disposeAll(this.servers);
    await disposeAll(this.#links.values());
  }
}

function sayTo(port: number, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let reply = "";
    const socket = createConnection(port, HOST, () => socket.write(word));
    socket.setTimeout(2_000, () => socket.destroy(new Error(`zookeeper does not answer ${word}`)));
    socket.setEncoding("utf8");
    socket.on("data", (part) => reply += part);
    socket.on("error", reject);
    socket.on("close", () => resolve(reply));
  });
}
