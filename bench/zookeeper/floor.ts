import { code, ignore } from "../../backends/zookeeper/client/errors.ts";
import { create, EPHEMERAL, exists, remove } from "../../backends/zookeeper/client/operations.ts";
import { settingsOf } from "../../backends/zookeeper/address.ts";
import { dial } from "../../backends/zookeeper/client/dial.ts";
import type { Subject } from "../handover/subject.ts";

/** The floor of ZooKeeper: a delete in one process to its watch event in the other. */
export async function subject(address: string): Promise<Subject> {
  const over = new AbortController();
  let got: (() => void) | undefined;
  const { connection } = await dial({
    settings: settingsOf(address),
    hello: () => ({ lastZxid: 0n, timeout: 10_000, session: 0n, password: new Uint8Array(16) }),
    timeout: 5_000,
    listener: { event: () => got?.(), ended: () => {} },
    signal: over.signal,
  });
  connection.keepAlive(1_000);
  const path = "/floor";
  const acl = [{ perms: 31, scheme: "world", id: "anyone" }];
  return {
    async wait(waiting) {
      const event = new Promise<void>((resolve) => got = resolve);
      await connection.request(create(path, "", acl, EPHEMERAL)).catch(ignore(code.nodeExists));
      await connection.request(exists(path, true));
      waiting();
      await event;
    },
    async pass() {
      await connection.request(remove(path));
    },
    close() {
      over.abort();
      return Promise.resolve();
    },
  };
}
