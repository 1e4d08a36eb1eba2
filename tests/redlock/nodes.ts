import { RedisServer } from "../servers/redis.ts";

/** Admits a node at once, as an operator may who knows that it has not forgotten anything. */
export async function admit(server: RedisServer): Promise<void> {
  const run = /run_id:(\w+)/.exec(await server.cli("info", "server"))![1]!;
  await server.cli("hset", "holdfast:node", "run", run, "since", "0");
}

/** Some nodes. */
export class Nodes implements AsyncDisposable {
  readonly servers: readonly RedisServer[];

  private constructor(servers: RedisServer[]) {
    this.servers = servers;
  }

  /** Starts so many, and admits them unless they are to stay out like any that are new. */
  static async start(count: number, admitted = true): Promise<Nodes> {
    const servers = await Promise.all(Array.from({ length: count }, () => RedisServer.start()));
    if (admitted) await Promise.all(servers.map(admit));
    return new Nodes(servers);
  }

  get urls(): string[] {
    return this.servers.map(({ url }) => url);
  }

  /** As errors name them. */
  get places(): string[] {
    return this.servers.map(({ host, port }) => `${host}:${port}`);
  }

  /** The ids of the claims each node has voted for. */
  async holders(votes: string): Promise<string[][]> {
    const all = await Promise.all(this.servers.map((server) => server.cli("hkeys", votes)));
    return all.map((fields) => fields.trim().split("\n").filter((field) => /^[0-9a-f-]+$/.test(field)));
  }

  /** Resolves once the votes are so. */
  async until(votes: string, so: (holders: string[][]) => boolean, within = 5_000): Promise<void> {
    const end = performance.now() + within;
    for (let last: string[][]; !so(last = await this.holders(votes));) {
      if (performance.now() > end) throw new Error(`the votes are ${JSON.stringify(last)}`);
    }
  }

  /** Resolves once all nodes have voted for a claim. */
  unanimous(votes: string, id: string): Promise<void> {
    return this.until(votes, (holders) => holders.every((ids) => ids.includes(id)), 30_000);
  }

  /** How many scripts they have run so far, all together. */
  async scripts(): Promise<number> {
    const all = await Promise.all(this.servers.map((server) => server.cli("info", "commandstats")));
    return all.reduce((sum, stats) => sum + Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.servers.map((server) => server[Symbol.asyncDispose]()));
  }
}
