/**
 * What a user's code may look like to TypeScript. It is checked and never run: once with the project's own settings,
 * and once where there are no types of the DOM, as with `@types/node` alone (see `tests/static.ts`).
 */
import { metrics, trace } from "@opentelemetry/api";
import { memory } from "../../backends/memory.ts";
import {
  checkRequest,
  type Fence,
  FENCE_CHECK,
  fenceHeaders,
  fenceValues,
  memoryFence,
  refuseRow,
  StaleTokenError,
  type SyncFence,
} from "../../fence.ts";
import {
  type AcquiredEvent,
  BackendError,
  type Json,
  type Lock,
  type LockErrorEvent,
  LockManager,
  type RequestOptions,
} from "../../mod.ts";
import { instrument } from "../../otel.ts";

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

using telemetry: Disposable = instrument(locks, {
  tracer: trace.getTracer("app"),
  meter: metrics.getMeter("app"),
  name: (key) => key.split(":")[0],
  propagate: true,
});

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

const fence: SyncFence = memoryFence();
const own: Fence = { check: async (key, token) => fence.checkSync(key, token) };
const headers: Record<string, string> = fenceHeaders(lock);
const refused: Response | undefined = await checkRequest(
  own,
  new Request("http://127.0.0.1", { headers }),
  "k",
);
const parameters: string[] = [FENCE_CHECK, ...fenceValues("k", lock.token)];
refuseRow("k", lock.token, { token: parameters[2] });
await fence.check("k", lock.token).catch((error) => {
  if (error instanceof StaleTokenError) error.code satisfies "stale";
});

// @ts-expect-error: `null` only with `ifAvailable`.
void locks.request("k", { ifAvailable: true }, (lock) => lock.name);
// @ts-expect-error: a token is a BigInt.
void fence.check("k", 7);
// @ts-expect-error: a BigInt is no JSON.
void locks.acquire("k", { metadata: 1n });
// @ts-expect-error: what other libraries call it.
void locks.acquire("k", { timeout: 500 });

// @ts-expect-error: a provider is no tracer.
void instrument(locks, { tracer: trace.getTracerProvider() });

export default [telemetry, perhaps, name, token, held, json, refused?.status];
