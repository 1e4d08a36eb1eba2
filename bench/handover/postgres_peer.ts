import { PEERS } from "../postgres/peers.ts";
import type { Subject } from "./subject.ts";

/** A lock of somebody else's in Postgres. */
export async function subject({ url, name }: { url: string; name: string }): Promise<Subject> {
  const peer = await PEERS[name]!(url);
  let release: () => Promise<unknown>;
  return {
    async wait(waiting) {
      const acquiring = peer.acquire("handover");
      setTimeout(waiting, 20); // they do not tell when they wait
      release = await acquiring;
    },
    async pass() {
      await release();
    },
    close: () => peer.close(),
  };
}
