import type { Link, LinkRequest, Row } from "./link.ts";
import { orUndo } from "./waiting.ts";

/** A result of `pg`. */
interface Result {
  readonly rows: Row[];
}

/** What can be asked. */
interface Asked {
  query(query: object): Promise<Result | Result[]>;
}

/** `Pool` of `pg`, as far as it is used. */
export interface TheirPool extends Asked {
  readonly options: object;
  readonly Client: new (options: object) => TheirClient;
}

/** `Client` of `pg`, as far as it is used. */
interface TheirClient extends Asked {
  readonly processID?: number | null;
  readonly connection?: { readonly stream: Partial<Record<"unref" | "destroy" | "destroySoon", () => void>> };
  connect(): Promise<unknown>;
  end(): Promise<void>;
  on(event: "error" | "end", listener: (error?: Error) => void): void;
  on(event: "notification", listener: (message: { channel: string; payload?: string }) => void): void;
}

/** What is read stays as it was sent, whatever parsers the client has. */
const AS_TEXT = { getTypeParser: () => (text: string) => text };

/** Sends statements as they are. */
export async function askPg(client: Asked, text: string): Promise<readonly Row[]> {
  const results = await client.query({ text, rowMode: "array", types: AS_TEXT });
  return (Array.isArray(results) ? results.at(-1)! : results).rows;
}

/** Opens a connection like those of a pool, by the pool's own means. */
export async function listenPg(pool: TheirPool, request: LinkRequest): Promise<Link> {
  const client = new pool.Client(pool.options);
  const unref = () => client.connection?.stream.unref?.();
  let open = false;
  let why: Error | undefined;
  client.on("error", (error) => why ??= error);
  client.on("end", () => {
    if (!open) return;
    open = false;
    request.down(why ?? new Error("the connection was closed"));
  });
  client.on("notification", ({ channel, payload = "" }) => request.notified?.(channel, payload));
  unref();
  await orUndo(client.connect(), request.abandoned, () => client.connection?.stream.destroy?.());
  unref(); // with TLS it is another one
  open = true;
  return {
    ...(client.processID && { pid: client.processID }),
    query(text) {
      if (open) return askPg(client, text);
      const error = new Error(why?.message ?? "the connection was closed", { cause: why });
      return Promise.reject(Object.assign(error, { unsent: true }));
    },
    close() {
      open = false;
      client.end().catch(() => {});
      client.connection?.stream.destroySoon?.();
    },
  };
}
