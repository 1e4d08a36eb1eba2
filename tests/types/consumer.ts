/**
 * What a user's code may look like to TypeScript. It is checked and never run: once with the project's own settings,
 * and once where there are no types of the DOM, as with `@types/node` alone (see `tests/static.ts`).
 */
import { memory } from "../../backends/memory.ts";
import {
  type AcquiredEvent,
  BackendError,
  type Json,
  type Lock,
  type LockErrorEvent,
  LockManager,
  type RequestOptions,
} from "../../mod.ts";

/** Metadata of one's own, which has no index signature. */
interface Host {
  readonly name: string;
  readonly pid?: number;
  readonly tags: readonly string[];
}

const host: Host = { name: "db-1", tags: ["eu"] };
const signal: AbortSignal = AbortSignal.timeout(5_000);

await using locks = new LockManager(memory(), { metadata: host, logger: { warn() {} } });
await using lock: Lock = await locks.acquire("k", { metadata: host, signal });
await using perhaps: Lock | undefined = await locks.tryAcquire(["k", "l"], { metadata: [host], limit: 2 });

const options: RequestOptions = { limit: 2, ttl: 1_000, renew: false, metadata: host, atLeast: 100 };
const name: string = await locks.request("k", (lock) => lock.name);
const token: bigint | undefined = await locks.request("k", options, (lock) => lock?.token);
const held: boolean = await locks.request("k", { steal: true }, async (lock) => lock.held);

void locks.campaign("job", (term, signal) => fetch("http://127.0.0.1", { signal }).then(() => term.renew()));
void locks.campaign("job", { signal, metadata: host }, async () => {});

const listener = (event: AcquiredEvent): number => event.waited;
locks.addEventListener("acquired", listener, { once: true, signal });
locks.addEventListener("error", {
  handleEvent: ({ error }: LockErrorEvent) => error instanceof BackendError,
});
locks.removeEventListener("acquired", listener, { capture: false });
lock.addEventListener("lost", ({ reason }) => reason satisfies "expired" | "revoked" | "stolen");

const target: EventTarget = locks;
target.addEventListener("acquired", () => {});

const json: Json | undefined = (await locks.inspect("k"))?.holders[0]?.metadata ?? lock.toJSON();

// @ts-expect-error: `null` only with `ifAvailable`.
void locks.request("k", { ifAvailable: true }, (lock) => lock.name);
// @ts-expect-error: a BigInt is no JSON.
void locks.acquire("k", { metadata: 1n });
// @ts-expect-error: what other libraries call it.
void locks.acquire("k", { timeout: 500 });

export default [perhaps, name, token, held, json];
