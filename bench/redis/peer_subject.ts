import { PEERS } from "./peers.ts";

/** A lock of somebody else's, passed between processes. */
export async function subject({ url, name }: { url: string; name: string }) {
  const peer = await PEERS[name]!(url);
  let release: () => Promise<unknown>;
  return {
    async wait(waiting: () => void): Promise<void> {
      const acquiring = peer.acquire(`handover by ${name}`);
      setTimeout(waiting, 5); // they do not tell when they wait
      release = await acquiring;
    },
    async pass(): Promise<void> {
      await release();
    },
    close: () => peer.close(),
  };
}
