/**
 * A process that closes its locks in every state that their connections can be in, and its client in the end. It has
 * to end by itself then.
 *
 * `node closing.ts KIND PLACE`
 */
import process from "node:process";
import { setImmediate as turn } from "node:timers/promises";
import { redis } from "../../../backends/redis.ts";
import { LockManager } from "../../../mod.ts";
import { Proxy } from "../../servers/proxy.ts";
import { until } from "../../servers/process.ts";
import { CALL } from "../../support.ts";
import { kinds, type Place } from "./kinds.ts";
import { uses } from "./uses.ts";

const [name, place] = process.argv.slice(2) as [string, string];
const kind = kinds.find((kind) => kind.name === name)!;
const server: Place = JSON.parse(place);
const proxy = await Proxy.start(server);
// Nodes and masters are where the servers say, and not behind a proxy.
const at = kind.to === "server" ? { host: proxy.host, port: proxy.port } : server;
const { client, end } = await kind.connect(at);
const theirs = proxy.connections;

await uses(client, client, name);
await alone("after use");
// While they are being opened, a little further each time.
for (const jobs of [0, 1, 2, 3, 5, 8, 13, 21, 34]) {
  await closes(() => after(jobs, () => Promise.resolve()));
  await alone(`after ${jobs} jobs`);
}
for (const turns of [1, 2, 3, 5, 8, 13]) {
  await closes(() => after(turns, turn));
  await alone(`after ${turns} turns`);
}
if (kind.to === "server") {
  // While the server says nothing to new connections.
  proxy.cut("both", (connection) => !theirs.includes(connection));
  await closes(() => when(() => proxy.connections.length > theirs.length, "nothing is opened"));
  proxy.heal();
  await alone("after silence");
  // While it breaks, and when it has.
  for (const turns of [0, 1, 5]) {
    const locks = new LockManager(redis(client));
    await (await locks.acquire(name)).release();
    proxy.refuse();
    await after(turns, turn);
    await locks.close();
    proxy.heal();
    await when(works, "it does not work again");
  }
}
await end();
console.log("closed");

/** Closes what is being opened. */
async function closes(time: () => Promise<void>): Promise<void> {
  const backend = redis(client);
  const listing = backend.list("holdfast/k", CALL).catch(() => {});
  await time();
  await backend[Symbol.asyncDispose]();
  await listing;
}

async function works(): Promise<boolean> {
  await using locks = new LockManager(redis(client), { retryFor: 0 });
  return await locks.tryAcquire(name).then((lock) => lock?.release() ?? false, () => false);
}

async function after(times: number, one: () => Promise<void>): Promise<void> {
  for (let at = 0; at < times; at++) await one();
}

/** Resolves once no connection is left but the client's own. */
async function alone(time: string): Promise<void> {
  await when(() => proxy.connections.length === theirs.length, `${time} a connection of ours is left`);
}

function when(condition: () => boolean | Promise<boolean>, complaint: string): Promise<void> {
  return until(async () => await condition(), () => complaint, 10_000);
}
