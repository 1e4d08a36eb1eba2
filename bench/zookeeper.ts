/** ZooKeeper: against the least a lock can do there, and what crowds and many locks cost. */
import { zookeeper } from "../backends/zookeeper.ts";
import * as op from "../backends/zookeeper/client/operations.ts";
import { type Lock, LockManager } from "../mod.ts";
import { TICK } from "../tests/faults/address.ts";
import { ZooKeeperServer } from "../tests/servers/zookeeper.ts";
import { Operator } from "../tests/zookeeper/operator.ts";
import { type Figure, ratio } from "./figures.ts";
import { handover } from "./handover/measure.ts";

const HELD = 10_000;
const WAITERS = 200;
const BEATS = 3;

/** One server for all of it. */
export async function run(): Promise<Figure[]> {
  await using server = await ZooKeeperServer.start({ tickTime: TICK });
  return [
    await cycle(server),
    await handOver(server),
    ...await crowd(server),
    await held(server),
  ];
}

function manager({ address }: ZooKeeperServer): LockManager {
  return new LockManager(zookeeper({ address, tickTime: TICK }));
}

/** One after the other. */
async function cycle(server: ZooKeeperServer): Promise<Figure> {
  await using locks = manager(server);
  await using bare = await Operator.connect(server.address);
  const acl = [{ perms: 31, scheme: "world", id: "anyone" }];
  await bare.ask(op.create("/bare", "", acl, 0));
  const value = await ratio(
    async () => await (await locks.acquire("key")).release(),
    async () =>
      await bare.ask(
        op.remove((await bare.ask(op.create("/bare/n-", "", acl, op.EPHEMERAL_SEQUENTIAL))).path),
      ),
    3_000,
  );
  return {
    what: "zookeeper: acquire + release against a bare create + delete, same client",
    value,
    unit: "x",
    bound: { most: 1.25 },
  };
}

/** From before the release in one process until the other one has the lock. */
async function handOver({ address }: ZooKeeperServer): Promise<Figure> {
  const [ours, floor] = await handover([
    { module: "lock", address: { backend: "zookeeper", at: [address] } },
    { module: "../zookeeper/floor", address, bare: true },
  ]) as [number, number];
  return {
    what: "zookeeper: hand-over between processes against a bare delete to its watch event",
    value: ours / floor,
    unit: "x",
    bound: { most: 2 },
  };
}

async function crowd(server: ZooKeeperServer): Promise<Figure[]> {
  await using locks = manager(server);
  const first = await locks.acquire("crowd");
  const served = Array.from({ length: WAITERS }, async () => await (await locks.acquire("crowd")).release());
  while ((await locks.inspect("crowd"))!.waiters.length < WAITERS) await pause(20);
  await pause(500);
  const packets = questions();
  const before = await packets(server);
  await first.release();
  await Promise.all(served);
  const after = await packets(server);
  const requests = after.received - before.received;
  return [{
    what: `zookeeper: requests for each hand-over, ${WAITERS} waiters on one key`,
    value: requests / (WAITERS + 1),
    unit: "calls",
    bound: { most: 3 },
  }, {
    what: `zookeeper: events for each hand-over, ${WAITERS} waiters on one key`,
    value: (after.sent - before.sent - requests) / (WAITERS + 1),
    unit: "calls",
    bound: { most: 1 },
  }];
}

/** Heartbeats of many locks. */
async function held(server: ZooKeeperServer): Promise<Figure> {
  await using locks = manager(server);
  const all: Lock[] = [];
  for (let n = 0; n < HELD; n += 500) {
    all.push(...await Promise.all(Array.from({ length: 500 }, (_, m) => locks.acquire(`held${n + m}`))));
  }
  await pause(4_000); // the last watches are set
  const beat = () => new Promise((resolve) => all[0]!.addEventListener("renewed", resolve, { once: true }));
  await beat();
  const packets = questions();
  const before = await packets(server);
  for (let beats = 0; beats < BEATS; beats++) await beat();
  const { received } = await packets(server);
  return {
    what: `zookeeper: requests a period to renew ${HELD} locks`,
    value: (received - before.received) / BEATS,
    unit: "calls",
    bound: { most: 1 },
  };
}

/** What clients have sent and been sent, these questions left out: each is one, and two answers. */
function questions(): (server: ZooKeeperServer) => Promise<{ received: number; sent: number }> {
  let asked = 0;
  return async (server) => {
    const report = await server.word("mntr");
    const count = (name: string) => Number(new RegExp(`^zk_packets_${name}\\s+(\\d+)`, "m").exec(report)![1]);
    const now = { received: count("received") - asked, sent: count("sent") - 2 * asked };
    asked++;
    return now;
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
