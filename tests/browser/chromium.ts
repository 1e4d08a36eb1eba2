/** A page in Chromium: it is served, shown, and says by itself how it went. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { binary } from "../servers/install.ts";
import { HOST, ServerProcess } from "../servers/process.ts";
import { dataFolder } from "../servers/reaper.ts";

/** What the page in that folder posts to `/report`. A script that is asked for as TypeScript is a bundled one. */
export async function show(folder: string): Promise<unknown> {
  let report: string | undefined;
  const server = createServer(async (request, response) => {
    if (request.method === "POST") report = await text(request);
    const [type, content] = request.method === "POST" ? ["text/plain", ""] : found(folder, request);
    response.writeHead(content === undefined ? 404 : 200, { "content-type": type }).end(content);
  });
  server.listen(0, HOST);
  await once(server, "listening");
  try {
    const address = `http://${HOST}:${(server.address() as AddressInfo).port}/index.html`;
    await using browser = await browse(address, () => report !== undefined);
    await browser.kill("SIGTERM"); // its other processes would write on after a SIGKILL
    return JSON.parse(report!);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Resolves once the page is done. */
async function browse(address: string, done: () => boolean): Promise<ServerProcess> {
  return await ServerProcess.start({
    name: "chromium",
    binary: await binary("chromium"),
    args: [
      ...["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"],
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), // as root it starts no other way
      // It asks nobody but us.
      ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
      `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE ${HOST}`,
      ...["--enable-logging=stderr", `--user-data-dir=${dataFolder("chromium-profile")}`, address],
    ],
    folder: dataFolder("chromium"),
    ready: () => Promise.resolve(done()),
    patience: 60_000,
  });
}

function found(folder: string, { url = "/" }: IncomingMessage): [type: string, content?: string] {
  const path = url.replace(/\?.*/, "").replace(/\.ts$/, ".js");
  try {
    const content = readFileSync(join(folder, path), "utf8");
    return [path.endsWith(".html") ? "text/html" : "text/javascript", content];
  } catch {
    return ["text/plain"];
  }
}
