import { dial } from "../../../backends/zookeeper/client/dial.ts";
import { settingsOf } from "../../../backends/zookeeper/address.ts";

/** The library's own connection, bare: `event` is called for each watch event. */
export async function client(address: string, event: () => void = () => {}) {
  const over = new AbortController();
  const { connection } = await dial({
    settings: settingsOf(new URL(address).host),
    hello: () => ({ lastZxid: 0n, timeout: 10_000, session: 0n, password: new Uint8Array(16) }),
    timeout: 5_000,
    listener: { event, ended: () => {} },
    signal: over.signal,
  });
  connection.keepAlive(1_000);
  return { connection, close: () => Promise.resolve(over.abort()) };
}

/** Everybody may do everything. */
export const ANYONE = [{ perms: 31, scheme: "world", id: "anyone" }];
