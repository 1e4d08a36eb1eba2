import { Buffer } from "node:buffer";
import type { Endpoint } from "./endpoint.ts";
import type { Message } from "./sender.ts";

/** A message as HTTP/1.1 writes it. */
export function written({ host, port, auth }: Endpoint, { method, path, text, headers }: Message): string {
  if (/[^!-~]/.test(path)) throw new Error("Cannot send a request: its path is not ASCII");
  // A zone is of this machine, and not of the address that the server has.
  const name = host.includes(":") ? `[${host.replace(/%.*/, "")}]` : host;
  let head = `${method} ${path} HTTP/1.1\r\nHost: ${name}:${port}\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  if (auth !== undefined) head += `Authorization: Basic ${Buffer.from(auth).toString("base64")}\r\n`;
  if (method === "PUT") head += `Content-Length: ${Buffer.byteLength(text)}\r\n`;
  return `${head}\r\n${text}`;
}
