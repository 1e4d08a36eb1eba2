/** Consul: a single agent, and three servers. */

import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Certificates, certificates } from "./certificates.ts";
import { http } from "./http.ts";
import { binary } from "./install.ts";
import { freePorts, HOST, run, ServerProcess, until } from "./process.ts";
import { dataFolder } from "./reaper.ts";
import { disposeAll, Server } from "./server.ts";

/** How Consul is started. */
export interface ConsulOptions {
  /** Keep the data on disk, so that it survives a restart. Default: only in a cluster. */
  readonly persistent?: boolean;
  /** Refuse whoever has no token; `token` is the one that may do everything. */
  readonly acl?: boolean;
  /** Serve HTTPS too, on `tlsPort`, with `certificates`. */
  readonly tls?: boolean;
  /** Further configuration: `{ limits: { http_max_conns_per_client: 1000 } }`. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Of the HTTP API, of the first server. Default: a free one. */
  readonly port?: number;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One Consul server. */
export class ConsulServer extends Server {
  /** Of the HTTPS API, if asked for. */
  readonly tlsPort: number;
  /** With `tls`: the authority that signed the server's certificate, and a pair for clients. */
  readonly certificates: Certificates | undefined;
  /** With `acl`: the token that may do everything. */
  readonly token: string | undefined;
  /** Where the other servers reach it; how `status/leader` names it. */
  readonly peer: string;

  private constructor(plan: Plan, options: ConsulOptions, process: ServerProcess) {
    super(plan.http, process);
    this.tlsPort = plan.https;
    this.certificates = plan.tls;
    this.token = options.acl ? plan.token : undefined;
    this.peer = `${HOST}:${plan.server}`;
  }

  /** Resolves once a session can be created. */
  static async start(options: ConsulOptions = {}): Promise<ConsulServer> {
    const [server] = await ConsulServer.launch(1, options);
    await server!.process.ready();
    return server!;
  }

  /** Starts servers that form one datacenter, without waiting. */
  static async launch(count: number, options: ConsulOptions): Promise<ConsulServer[]> {
    const program = await binary("consul");
    const grpcTls = await knowsGrpcTls(program);
    const token = randomUUID();
    const plans: Plan[] = [];
    for (let n = 1; n <= count; n++) {
      const made = await plan(`server${n}`, token, options);
      plans.push(n === 1 && options.port ? { ...made, http: options.port } : made);
    }
    return plans.map((plan) => {
      const file = join(plan.folder, "config.json");
      writeFileSync(file, JSON.stringify(config(plan, plans, { ...options, grpcTls })));
      const mode = count === 1 && !options.persistent ? ["-dev"] : [];
      const process = ServerProcess.launch({
        name: `consul ${plan.name}`,
        binary: program,
        args: ["agent", ...mode, "-config-file", file],
        env: options.env,
        folder: plan.folder,
        ready: async () => {
          const node = await http(
            "GET",
            `http://${HOST}:${plan.http}/v1/catalog/node/${plan.name}?token=${token}`,
          );
          return node.includes(plan.name);
        },
      });
      return new ConsulServer(plan, options, process);
    });
  }

  /** `http://127.0.0.1:port`. */
  get url(): string {
    return `http://${this.host}:${this.port}`;
  }

  /** Calls the API with the token: `api("PUT", "session/destroy/" + id)`. */
  async api(method: string, path: string, body?: unknown): Promise<unknown> {
    const token = this.token ? `${path.includes("?") ? "&" : "?"}token=${this.token}` : "";
    const reply = await http(method, `${this.url}/v1/${path}${token}`, body);
    return reply === "" ? undefined : JSON.parse(reply);
  }
}

/** Three servers of one datacenter. */
export class ConsulCluster implements AsyncDisposable {
  readonly servers: readonly ConsulServer[];

  private constructor(servers: ConsulServer[]) {
    this.servers = servers;
  }

  /** Resolves once there is a leader and every server is in the catalog. */
  static async start(options: ConsulOptions = {}): Promise<ConsulCluster> {
    const servers = await ConsulServer.launch(3, options);
    await Promise.all(servers.map((server) => server.process.ready()));
    return new ConsulCluster(servers);
  }

  /** The leader, by the word of the others; waits until there is one, other than `except`. */
  async leader(except?: ConsulServer): Promise<ConsulServer> {
    let found: ConsulServer | undefined;
    await until(async () => {
      const asked = this.servers.filter((server) => server !== except && server.process.running);
      const words = await Promise.all(
        asked.map((server) => server.api("GET", "status/leader").catch(() => "")),
      );
      found = this.servers.find((server) => server !== except && words.every((word) => word === server.peer));
      return found !== undefined;
    }, () => `no leader:\n${this.servers.map((server) => server.process.log(5)).join("\n")}`);
    return found!;
  }

  /** Kills everything. */
  [Symbol.asyncDispose](): Promise<void> {
    return disposeAll(this.servers);
  }
}

interface Plan {
  readonly name: string;
  readonly folder: string;
  readonly token: string;
  readonly http: number;
  readonly https: number;
  readonly server: number;
  readonly serf: number;
  readonly tls: Certificates | undefined;
}

async function plan(name: string, token: string, options: ConsulOptions): Promise<Plan> {
  const folder = dataFolder("consul");
  const [http = 0, https = 0, server = 0, serf = 0] = await freePorts(4);
  const tls = options.tls ? await certificates(folder) : undefined;
  return { name, folder, token, http, https, server, serf, tls };
}

let known: Promise<boolean> | undefined;

/** Whether it listens there unless told otherwise (Consul 1.14 and later): older ones refuse to be told. */
function knowsGrpcTls(program: string): Promise<boolean> {
  return known ??= run(program, ["version"]).then((said) => {
    const [, major = 0, minor = 0] = /Consul v(\d+)\.(\d+)/.exec(said) ?? [];
    return Number(major) > 1 || Number(minor) >= 14;
  });
}

function config(
  plan: Plan,
  plans: readonly Plan[],
  options: ConsulOptions & { readonly grpcTls: boolean },
): Record<string, unknown> {
  const { http, https, server, serf, tls } = plan;
  const single = plans.length === 1 && !options.persistent; // the development mode, which elects itself
  return {
    node_name: plan.name,
    bind_addr: HOST,
    client_addr: HOST,
    ports: {
      ...{ http, https: tls ? https : -1, server, serf_lan: serf, serf_wan: -1, dns: -1, grpc: -1 },
      ...(options.grpcTls && { grpc_tls: -1 }),
    },
    performance: { raft_multiplier: 1 },
    leave_on_terminate: false, // a server that restarts is still a member
    disable_update_check: true,
    ...(single ? {} : {
      server: true,
      data_dir: join(plan.folder, "data"),
      bootstrap_expect: plans.length,
      retry_join: plans.map((other) => `${HOST}:${other.serf}`),
      retry_interval: "1s",
    }),
    ...(tls ? { ca_file: tls.ca, cert_file: tls.cert, key_file: tls.key } : {}),
    ...(options.acl
      ? { acl: { enabled: true, default_policy: "deny", tokens: { master: plan.token, agent: plan.token } } }
      : {}),
    ...options.config,
  };
}
