import { type Lock, LockManager } from "../../mod.ts";
import { type Address, open } from "../../tests/faults/address.ts";
import type { Subject } from "./subject.ts";

/** A lock of ours. */
export async function subject(address: Address): Promise<Subject> {
  const locks = new LockManager(await open(address));
  let lock: Lock | undefined;
  return {
    async wait(waiting) {
      locks.addEventListener("waiting", waiting, { once: true });
      lock = await locks.acquire("handover");
    },
    async pass() {
      await lock!.release();
    },
    close: () => locks.close(),
  };
}
