import type { Link, LinkRequest } from "./link.ts";
import { orClose } from "./opening.ts";
import { scan } from "./server_link.ts";

/** Bun's `RedisClient`, as far as it is used. */
export interface TheirBun {
  send(command: string, args: string[]): Promise<unknown>;
  duplicate(): Promise<TheirBun>;
  subscribe(channel: string, listener: (message: string, channel: string) => unknown): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  onclose: ((error: Error) => void) | null;
  close(): void;
}

/** Through a client of Bun's. */
export async function openBun(client: TheirBun, request: LinkRequest): Promise<Link> {
  const hear = (message: string, channel: string) => request.message(channel, message);
  let open = true;
  let messages: TheirBun | undefined;
  const close = () => {
    open = false;
    messages?.close();
  };
  const listen = async () => {
    messages = await client.duplicate();
    messages.onclose = (error) => {
      if (!open) return;
      close(); // or it would connect again
      request.down(error);
    };
    if (!open) return close();
    await messages.subscribe(request.channel, hear);
  };
  await orClose(listen(), request, close);
  const send = (command: string, args: readonly (string | number)[]) =>
    client.send(command, args.map(String));
  return {
    keyPrefix: "",
    cluster: false,
    get usable() {
      return open;
    },
    send,
    subscribe: async (channel) => void await messages!.subscribe(channel, hear),
    unsubscribe: async (channel) => void await messages!.unsubscribe(channel),
    scan: (pattern) => scan((args) => send("SCAN", args), pattern),
    close,
  };
}
