/** A Consul agent that is no server: what runs beside an application. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ConsulServer } from "../servers/consul.ts";
import { http } from "../servers/http.ts";
import { binary } from "../servers/install.ts";
import { freePorts, HOST, ServerProcess } from "../servers/process.ts";
import { dataFolder } from "../servers/reaper.ts";

/** One agent, joined to a server. */
export class ConsulClientAgent implements AsyncDisposable {
  /** Of its HTTP API. */
  readonly url: string;
  /** The process. */
  readonly process: ServerProcess;

  private constructor(url: string, process: ServerProcess) {
    this.url = url;
    this.process = process;
  }

  /** Resolves once it has found the server. */
  static async start(server: ConsulServer, config: Record<string, unknown> = {}): Promise<ConsulClientAgent> {
    const folder = dataFolder("consul");
    const [port = 0, serf = 0] = await freePorts(2);
    const url = `http://${HOST}:${port}`;
    const file = join(folder, "config.json");
    const { DebugConfig } = await server.api("GET", "agent/self") as { DebugConfig: Record<string, unknown> };
    writeFileSync(
      file,
      JSON.stringify({
        node_name: "client",
        bind_addr: HOST,
        client_addr: HOST,
        data_dir: join(folder, "data"),
        ports: { http: port, serf_lan: serf, serf_wan: -1, dns: -1, grpc: -1 },
        retry_join: [`${HOST}:${DebugConfig["SerfPortLAN"]}`],
        retry_interval: "1s",
        disable_update_check: true,
        ...config,
      }),
    );
    const process = await ServerProcess.start({
      name: "consul client agent",
      binary: await binary("consul"),
      args: ["agent", "-config-file", file],
      folder,
      ready: async () => (await http("GET", `${url}/v1/catalog/node/client`)).includes("client"),
    });
    return new ConsulClientAgent(url, process);
  }

  /** Kills it and removes its data. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]();
  }
}
