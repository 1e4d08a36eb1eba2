import { instrument } from "../../otel.ts";
import { next, over } from "../support.ts";
import { TTL, world } from "../virtual.ts";
import type { Sdk } from "./sdk.ts";

/**
 * All that can become of locks, so that each metric is written with each of its attributes. One lock is held at
 * its end and one is waited for.
 */
export async function everything({ tracer, meter }: Pick<Sdk, "tracer" | "meter">): Promise<void> {
  const { clock, store, locks } = world({ retryFor: 0 });
  instrument(locks, { tracer, meter, name: (key) => key });
  const lock = await locks.acquire("k");
  await locks.tryAcquire("k");
  const lost = over(lock);
  const thief = await locks.acquire("k", { steal: true });
  await lost;
  const failed = next(thief, "error");
  store.rule = () => "refuse";
  await clock.pass(TTL / 2);
  await failed;
  await locks.acquire("other").catch(() => {});
  await thief.release().catch(() => {});
  store.rule = () => "pass";
  await clock.pass(TTL);
  await locks.acquire("k");
  const waiting = next(locks, "waiting");
  void locks.acquire("k");
  await waiting;
}
