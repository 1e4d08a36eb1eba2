/** One manager for all who talk to this worker: the page that started it, or every port of a shared one. */
import { type Lock, LockManager } from "@holdfast/lock";
import { memory } from "@holdfast/lock/memory";

/** What is asked: to wait for a lock, or to give it up. The id is the asker's own. */
export type Request = { id: string; take: string; steal?: boolean } | { id: string; give: true };

/** What is answered. */
export type Answer = { id: string; token: bigint } | { id: string; lost: string } | {
  id: string;
  given: boolean;
};

/** A `MessagePort`, or the worker itself. */
export interface Port {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown): void;
}

const locks = new LockManager(memory());

function serve(port: Port): void {
  const taken = new Map<string, Lock>();
  port.onmessage = async ({ data }: MessageEvent<Request>) => {
    const { id } = data;
    if ("give" in data) return port.postMessage({ id, given: await taken.get(id)!.release() });
    const lock = await locks.acquire(data.take, { steal: data.steal });
    taken.set(id, lock);
    lock.addEventListener("lost", ({ reason }) => port.postMessage({ id, lost: reason }));
    port.postMessage({ id, token: lock.token });
  };
}

/** Only a shared worker is connected to. */
if ("onconnect" in globalThis) {
  globalThis.addEventListener(
    "connect",
    (event) => serve((event as MessageEvent).ports[0] as unknown as Port),
  );
} else serve(globalThis as unknown as Port);
