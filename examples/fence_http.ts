/**
 * A service that refuses the late request of a holder who has lost its lock. `checkRequest` takes a `Request`, as Deno,
 * Bun, workers and most frameworks have it; here it is made of what `node:http` has.
 */
import type { Lock } from "@holdfast/lock";
import { connect } from "@holdfast/lock/connect";
import { checkRequest, fenceHeaders, memoryFence, StaleTokenError } from "@holdfast/lock/fence";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";

const fence = memoryFence();
let account = "";
const server = createServer(async (request, response) => {
  if (request.method === "GET") return response.end(account);
  const body: Uint8Array[] = await Array.fromAsync(request);
  const headers = new Headers(request.headers as Record<string, string>);
  const refused = await checkRequest(fence, { headers }, "account:7");
  if (refused === undefined) account = new TextDecoder().decode(body[0]);
  refused?.headers.forEach((value, name) => response.setHeader(name, value));
  response.writeHead(refused?.status ?? 204);
  response.end(await refused?.text());
}).listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/accounts/7`;

await using locks = connect(process.env.HOLDFAST_STORE ?? "sqlite:");

const first = await locks.acquire("account:7");
await write(first, 5);
console.log(`balance: ${await balance()}, by the first holder`);

// As if the first had stopped here for longer than its ttl: another has the lock now, and writes.
const second = await locks.acquire("account:7", { steal: true });
await write(second, 7);
console.log(`balance: ${await balance()}, by the second`);

try {
  await write(first, 6);
} catch (error) {
  if (!(error instanceof StaleTokenError)) throw error;
  console.log("the first, late: refused");
}
console.log(`balance: ${await balance()}`);
await second.release();
server.closeAllConnections();
server.close();

async function write(lock: Lock, balance: number): Promise<void> {
  const response = await fetch(url, { method: "PUT", headers: fenceHeaders(lock), body: `${balance}` });
  const said = await response.text();
  if (response.ok) return;
  const { code, seen, detail } = JSON.parse(said); // application/problem+json
  throw code === "stale" ? new StaleTokenError(lock.key, lock.token, BigInt(seen)) : new Error(detail);
}

async function balance(): Promise<string> {
  return await (await fetch(url)).text();
}

// Prints:
// balance: 5, by the first holder
// balance: 7, by the second
// the first, late: refused
// balance: 7
