import type { Backend } from "../../internal/backend.ts";
import type { Partition } from "../conformance/mod.ts";
import { Proxy } from "../servers/proxy.ts";

/** A backend that reaches its servers through proxies, which can cut it off from all of them. */
export async function partition(
  servers: readonly { readonly port: number }[],
  open: (...ports: number[]) => Backend,
): Promise<Partition> {
  const proxies = await Promise.all(servers.map(({ port }) => Proxy.start({ port })));
  const backend = open(...proxies.map(({ port }) => port));
  return {
    backend,
    cut: () => proxies.forEach((proxy) => proxy.cut()),
    heal: () => proxies.forEach((proxy) => proxy.heal()),
    async [Symbol.asyncDispose]() {
      await backend[Symbol.asyncDispose]();
      await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()));
    },
  };
}
