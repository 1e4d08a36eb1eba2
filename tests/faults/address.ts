import type { Backend } from "../../mod.ts";

/** A store, in words that another process understands. */
export interface Address {
  readonly backend: "sqlite" | "redis" | "redlock" | "etcd" | "zookeeper" | "consul" | "postgres";
  /** Path, URL or connection string; several where the backend takes several. */
  readonly at: readonly string[];
  /** The name of the master, where `at` are Redis Sentinels. */
  readonly sentinel?: string;
}

/** What a ZooKeeper server of the tests ticks with. */
export const TICK = 500;

/** A backend over the store; its module is loaded only now. */
export async function open({ backend, at, sentinel }: Address): Promise<Backend> {
  const first = at[0]!;
  switch (backend) {
    case "sqlite":
      return (await import("../../backends/sqlite.ts")).sqlite(first);
    case "redis":
      return (await import("../../backends/redis.ts")).redis(
        sentinel === undefined ? first : { name: sentinel, sentinels: at.map(hostAndPort) },
      );
    case "redlock":
      return (await import("../../backends/redlock.ts")).redlock([...at]);
    case "etcd":
      return (await import("../../backends/etcd.ts")).etcd([...at]);
    case "zookeeper":
      return (await import("../../backends/zookeeper.ts")).zookeeper({
        address: at.join(","),
        tickTime: TICK,
      });
    case "consul":
      return (await import("../../backends/consul.ts")).consul(first);
    case "postgres":
      return (await import("../../backends/postgres.ts")).postgres(first);
  }
}

function hostAndPort(text: string): { host: string; port: number } {
  const [host, port] = text.split(":") as [string, string];
  return { host, port: Number(port) };
}
