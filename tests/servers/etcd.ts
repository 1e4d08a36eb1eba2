/** etcd: a single server, and a cluster of three. */

import { binary } from "./install.ts";
import { type Certificates, certificates } from "./certificates.ts";
import { http } from "./http.ts";
import { freePorts, HOST, ServerProcess, until } from "./process.ts";
import { owns } from "./owner.ts";
import { Proxy } from "./proxy.ts";
import { dataFolder } from "./reaper.ts";
import { disposeAll, Server } from "./server.ts";

/** How etcd is started. */
export interface EtcdOptions {
  /** Further arguments: `["--auto-compaction-retention", "1"]`. */
  readonly args?: readonly string[];
  /** Serve TLS to clients, with `certificates`; for these names, if some are given: `DNS:etcd.internal`. */
  readonly tls?: boolean | string;
  /** For clients, of the first member. Default: a free one. */
  readonly port?: number;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Milliseconds, ten heartbeats. Default 1000. The smallest lease ttl is one and a half of it,
   * rounded up to seconds.
   */
  readonly electionTimeout?: number;
}

/** One etcd server, or one member of a cluster. Its data survives a restart. */
export class EtcdServer extends Server {
  /** Its name in the cluster. */
  readonly name: string;
  /** With TLS: the authority that signed the server's certificate, and a pair for clients. */
  readonly certificates: Certificates | undefined;
  readonly #metrics: string;

  private constructor(plan: Plan, process: ServerProcess) {
    super(plan.port, process);
    this.name = plan.name;
    this.certificates = plan.tls;
    this.#metrics = plan.metrics;
  }

  /** Resolves once it can serve a request. */
  static async start(options: EtcdOptions = {}): Promise<EtcdServer> {
    const [server] = await EtcdServer.launch(1, options);
    await server!.process.ready();
    return server!;
  }

  /** Starts the members of one cluster, without waiting; with proxies, each is reached through its own. */
  static async launch(count: number, options: EtcdOptions, proxies?: Proxy[]): Promise<EtcdServer[]> {
    const program = await binary("etcd");
    const plans: Plan[] = [];
    for (let n = 1; n <= count; n++) {
      plans.push(await plan(`member${n}`, options.tls, n === 1 ? options.port : undefined));
    }
    const ports = plans.map(({ peer }) => peer);
    if (proxies) {
      for (const port of ports) proxies.push(await Proxy.start({ port }));
      for (const [n, { port }] of proxies.entries()) ports[n] = port;
    }
    const members = plans.map(({ name }, n) => `${name}=http://${HOST}:${ports[n]}`).join(",");
    return plans.map((plan, n) =>
      new EtcdServer(
        plan,
        ServerProcess.launch({
          name: `etcd ${plan.name}`,
          binary: program,
          args: [...args(plan, ports[n]!, members, options), ...options.args ?? []],
          env: options.env,
          folder: plan.folder,
          ready: async () => (await http("GET", `${plan.metrics}/health`)).includes('"true"'),
        }),
      )
    );
  }

  /** `http://127.0.0.1:port`, `https:` with TLS. */
  get url(): string {
    return `${this.certificates ? "https" : "http"}://${this.host}:${this.port}`;
  }

  /** Whether it is the leader, by its own word. */
  async leads(): Promise<boolean> {
    return /^etcd_server_is_leader 1$/m.test(await http("GET", `${this.#metrics}/metrics`));
  }

  /** Calls the JSON gateway (not with TLS): `rpc("kv/range", { key: btoa("a") })`. */
  async rpc(method: string, body: unknown = {}): Promise<Record<string, unknown>> {
    return JSON.parse(await http("POST", `${this.url}/v3/${method}`, body));
  }
}

/** `etcd grpc-proxy`, which stands between clients and members, and makes calls of its own of theirs. */
export class EtcdGrpcProxy extends Server {
  /** Resolves once it serves. */
  static async start(members: readonly string[]): Promise<EtcdGrpcProxy> {
    const folder = dataFolder("etcd-proxy");
    const [port = 0] = await freePorts(1);
    const server = await ServerProcess.start({
      name: "etcd grpc-proxy",
      binary: await binary("etcd"),
      args: [
        ...["grpc-proxy", "start", "--endpoints", members.join()],
        // Newer ones connect to what they advertise before they serve.
        ...["--listen-addr", `${HOST}:${port}`, "--advertise-client-url", `${HOST}:${port}`],
      ],
      folder,
      ready: async () => (await http("GET", `http://${HOST}:${port}/health`)).includes('"true"'),
    });
    return new EtcdGrpcProxy(port, server);
  }

  /** `http://127.0.0.1:port`. */
  get url(): string {
    return `http://${this.host}:${this.port}`;
  }
}

/** Three members. */
export class EtcdCluster implements AsyncDisposable {
  readonly servers: readonly EtcdServer[];
  /** Before each member's peer port, if asked for. */
  readonly #proxies: readonly Proxy[];

  private constructor(servers: EtcdServer[], proxies: Proxy[]) {
    this.servers = servers;
    this.#proxies = proxies;
  }

  /**
   * Resolves once every member serves. `partitions` lets them be isolated: their traffic then passes
   * through this process, and stands still while that does.
   */
  static async start(options: EtcdOptions & { readonly partitions?: boolean } = {}): Promise<EtcdCluster> {
    const proxies: Proxy[] = [];
    const servers = await EtcdServer.launch(3, options, options.partitions ? proxies : undefined);
    await Promise.all(servers.map((server) => server.process.ready()));
    return new EtcdCluster(servers, proxies);
  }

  /** Cuts a member's traffic with the others, both ways; its clients still reach it. One at a time. */
  isolate(server: EtcdServer): void {
    if (this.#proxies.length === 0) throw new Error("Start the cluster with `partitions: true`");
    for (const [n, proxy] of this.#proxies.entries()) {
      const own = this.servers[n] === server;
      proxy.cut("both", ({ clientPort }) => own || owns(server.process.pid, clientPort, proxy.port));
    }
  }

  /** Ends the isolation. */
  heal(): void {
    for (const proxy of this.#proxies) proxy.heal();
  }

  /** Of all members. */
  get urls(): string[] {
    return this.servers.map((server) => server.url);
  }

  /** The one leader among the members that answer; waits until there is one. */
  async leader(except?: EtcdServer): Promise<EtcdServer> {
    let found: EtcdServer | undefined;
    await until(
      async () => {
        for (const server of this.servers) {
          if (server !== except && await server.leads().catch(() => false)) found = server;
        }
        return found !== undefined;
      },
      () => `no leader:\n${this.servers.map((server) => server.process.log(5)).join("\n")}`,
      60_000,
    );
    return found!;
  }

  /** Kills everything. */
  [Symbol.asyncDispose](): Promise<void> {
    return disposeAll([...this.servers, ...this.#proxies]);
  }
}

interface Plan {
  readonly name: string;
  readonly folder: string;
  readonly port: number;
  readonly peer: number;
  readonly metrics: string;
  readonly tls: Certificates | undefined;
}

async function plan(name: string, tls: boolean | string = false, port?: number): Promise<Plan> {
  const folder = dataFolder("etcd");
  const [client = 0, peer = 0, metrics] = await freePorts(3);
  return {
    name,
    folder,
    port: port ?? client,
    peer,
    metrics: `http://${HOST}:${metrics}`,
    tls: tls ? await certificates(folder, ...(tls === true ? [] : [tls])) : undefined,
  };
}

function args(plan: Plan, advertised: number, members: string, options: EtcdOptions): string[] {
  const { electionTimeout = 1_000 } = options;
  const client = `${plan.tls ? "https" : "http"}://${HOST}:${plan.port}`;
  return [
    ...["--name", plan.name, "--data-dir", `${plan.folder}/data`],
    ...["--listen-client-urls", client, "--advertise-client-urls", client],
    ...["--listen-peer-urls", `http://${HOST}:${plan.peer}`],
    ...["--initial-advertise-peer-urls", `http://${HOST}:${advertised}`],
    ...["--listen-metrics-urls", plan.metrics], // plain, whatever the clients' port asks for
    ...["--initial-cluster", members, "--initial-cluster-token", members],
    ...["--election-timeout", `${electionTimeout}`, "--heartbeat-interval", `${electionTimeout / 10}`],
    ...(plan.tls ? ["--cert-file", plan.tls.cert, "--key-file", plan.tls.key] : []),
  ];
}
