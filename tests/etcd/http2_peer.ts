/**
 * An HTTP/2 server that sends back what it gets, with trailers. Says its port, and ends with its input.
 *
 * `node http2_peer.ts SETTINGS`
 */
import { Buffer } from "node:buffer";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import process from "node:process";

const server = http2.createServer({ settings: JSON.parse(process.argv[2]!) });
server.on("stream", (stream) => {
  stream.on("error", () => {});
  stream.respond({ ":status": 200 }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  const parts: Buffer[] = [];
  stream.on("data", (bytes: Buffer) => parts.push(bytes));
  stream.on("end", () => stream.end(Buffer.concat(parts)));
});
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
process.stdin.on("end", () => process.exit()).resume();
