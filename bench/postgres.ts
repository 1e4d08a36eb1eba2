/** Postgres: against the least a lock can do there, and what crowds and many locks cost. */
import postgresJs from "postgres";
import { postgres } from "../backends/postgres.ts";
import { LockManager } from "../mod.ts";
import { counts, logged, type Statement, statements } from "../tests/postgres/statements.ts";
import { PostgresServer } from "../tests/servers/postgres.ts";
import { CALL, claim, open } from "../tests/support.ts";
import { type Figure, median, ratio } from "./figures.ts";
import { handover } from "./handover/measure.ts";
import { PEERS } from "./postgres/peers.ts";

const HELD = 10_000;
const WAITERS = 200;
const PERIODS = 5;
const TTL = 300_000;

/** One server for all of it, and one that does not wait for its disk. */
export async function run(): Promise<Figure[]> {
  await using server = await PostgresServer.start();
  await using fast = await PostgresServer.start({ args: ["-c", "fsync=off"] });
  return [
    { ...await cycles(server.url), bound: { most: 1.25 } },
    { ...await cycles(fast.url), what: "postgres: the same without waiting for the disk (fsync=off)" },
    ...await besidePeers(server.url),
    ...await handOver(server.url),
    await crowd(server),
    ...await held(server),
  ];
}

/** One after the other, on one connection each. */
async function cycles(url: string): Promise<Figure> {
  await using locks = new LockManager(postgres(url), { ttl: TTL });
  const sql = postgresJs(url, { max: 1 });
  await sql`CREATE TABLE bare (key text PRIMARY KEY, owner text)`;
  const value = await ratio(async () => await (await locks.acquire("key")).release(), async () => {
    await sql`INSERT INTO bare VALUES (${"key"}, ${"me"}) ON CONFLICT DO NOTHING`;
    await sql`DELETE FROM bare WHERE key = ${"key"} AND owner = ${"me"}`;
  }, 3_000);
  await sql.end();
  return { what: "postgres: acquire + release against a bare INSERT and DELETE", value, unit: "x" };
}

async function besidePeers(url: string): Promise<Figure[]> {
  await using locks = new LockManager(postgres(url), { ttl: TTL });
  const figures: Figure[] = [];
  for (const [name, connect] of Object.entries(PEERS)) {
    const peer = await connect(url);
    const value = await ratio(
      async () => await (await locks.acquire("key")).release(),
      async () => await (await peer.acquire("key"))(),
    );
    await peer.close();
    figures.push({ what: `postgres: acquire + release against ${name}`, value, unit: "x" });
  }
  return figures;
}

/** From before the release in one process until the other one has the lock. */
async function handOver(url: string): Promise<Figure[]> {
  const [ours, floor, ...theirs] = await handover([
    { module: "lock", address: { backend: "postgres", at: [url] } },
    { module: "postgres", address: url, bare: true },
    ...Object.keys(PEERS).map((name) => ({ module: "postgres_peer", address: { url, name } })),
  ]);
  return [
    {
      what: "postgres: hand-over between processes against a bare NOTIFY to its notification",
      value: ours! / floor!,
      unit: "x",
      bound: { most: 2 },
    },
    { what: "postgres: the same in milliseconds", value: ours!, unit: "ms" },
    ...Object.keys(PEERS).map((name, n): Figure => ({
      what: `postgres: hand-over between processes against ${name}`,
      value: ours! / theirs[n]!,
      unit: "x",
    })),
  ];
}

/** From when they come until the last one has gone. */
async function crowd(server: PostgresServer): Promise<Figure> {
  await using locks = new LockManager(postgres(logged(server)), { ttl: TTL });
  const first = await locks.acquire("crowd");
  const spent = await statements(server, async () => {
    const served = Array.from(
      { length: WAITERS },
      async () => await (await locks.acquire("crowd")).release(),
    );
    while (!((await locks.query()).pending!.length === WAITERS)) await pause(20);
    await first.release();
    await Promise.all(served);
  });
  const { enter = 0, leave = 0 } = counts(spent);
  return {
    what: `postgres: statements for each hand-over, ${WAITERS} waiters on one key, their coming included`,
    value: (enter + leave) / WAITERS,
    unit: "calls",
    bound: { most: 3 },
  };
}

/** Heartbeats of many locks. */
async function held(server: PostgresServer): Promise<Figure[]> {
  await using backend = postgres(logged(server));
  const { lease } = await open(backend, TTL);
  const patient = { ...CALL, timeout: 60_000 };
  const claims = Array.from({ length: HELD }, (_, n) => claim({ key: `holdfast/held${n}` }));
  await Promise.all(claims.map((one) => lease.attempt(one, patient)));
  await lease.renew(claims, patient);
  let longest: Statement[] = [];
  for (let period = 0; period < PERIODS; period++) {
    longest = [...longest, ...await statements(server, () => lease.renew(claims, patient))];
  }
  const times = longest.filter(({ calls }) => calls[0] === "renew").map(({ ms }) => ms).sort((a, b) => a - b);
  await lease.close(patient);
  return [
    {
      what: `postgres: the longest statement that renews some of ${HELD} locks`,
      value: times.at(-1)!,
      unit: "ms",
      bound: { most: 20 },
    },
    { what: "postgres: a typical one", value: median(times), unit: "ms" },
    {
      what: "postgres: 99 of 100 are shorter than",
      value: times[Math.floor(times.length * 0.99)]!,
      unit: "ms",
    },
    { what: "postgres: so many for all of them", value: times.length / PERIODS, unit: "calls" },
  ];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
