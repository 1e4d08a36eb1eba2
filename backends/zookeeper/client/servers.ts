/** One server. */
export interface Server {
  /** Name or address. */
  readonly host: string;
  /** TCP. */
  readonly port: number;
}

/** For messages, and to tell servers apart. */
export function hostAndPort({ host, port }: Server): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Milliseconds: after that a server that has failed is as good as any other. */
const GRUDGE = 60_000;

/** Which servers have failed lately, as all the connections of a backend have found them. */
export class Servers {
  readonly #failed = new Map<string, { times: number; at: number }>();

  /** In random order, since clients must spread; those that have failed come last, the latest at the end. */
  order(servers: readonly Server[]): Server[] {
    const now = performance.now();
    for (const [name, { at }] of this.#failed) if (now - at > GRUDGE) this.#failed.delete(name);
    return servers
      .map((server) => ({ server, rank: this.#failed.get(hostAndPort(server))?.at ?? -Math.random() }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ server }) => server);
  }

  /** How often in a row. */
  failures(server: Server): number {
    return this.#failed.get(hostAndPort(server))?.times ?? 0;
  }

  /** The server has just failed. */
  failed(server: Server): void {
    this.#failed.set(hostAndPort(server), { times: this.failures(server) + 1, at: performance.now() });
  }

  /** The server has just worked. */
  worked(server: Server): void {
    this.#failed.delete(hostAndPort(server));
  }
}
