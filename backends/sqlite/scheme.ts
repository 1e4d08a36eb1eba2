import type { Scheme, StoreUrl } from "../shared/scheme.ts";
import { pathOf } from "../shared/url.ts";
import { absolutePath } from "./address.ts";
import { SQLITE_TRAITS } from "./traits.ts";

/** `sqlite:` is the default file, `sqlite:///path` one by its absolute path, `sqlite:path` one of the current folder. */
export const sqliteScheme: Scheme = {
  names: ["sqlite"],
  title: "a local file, without a path the default one",
  example: "sqlite:///var/lib/app/locks.db",
  settings: {},
  read(url) {
    const path = fileOf(pathOf(url), url);
    return {
      name: "sqlite",
      traits: SQLITE_TRAITS,
      given: [path],
      load: async () => (await import("../sqlite.ts")).sqlite(path),
      async *examine(checkup) {
        yield* (await import("./doctor.ts")).examine(path, checkup);
      },
    };
  },
};

/** What is relative is so to the folder that is the current one now, whenever the file is opened. */
function fileOf(path: string, { userinfo, hosts }: StoreUrl): string | undefined {
  if (userinfo !== "" || hosts.some((host) => host !== "") || hosts.length > 0 && path.length < 2) {
    throw new TypeError(
      "Cannot read the sqlite URL: expected sqlite:, sqlite:///absolute/path or sqlite:relative/path; " +
        "a file is on no other host",
    );
  }
  if (path === "") return undefined;
  if (/^:memory:$/i.test(path)) throw new TypeError("Cannot keep locks in sqlite::memory: write memory:");
  if (/^[a-z][a-z\d+.-]+:/i.test(path)) {
    throw new TypeError("Cannot read the sqlite URL: expected a path after it, not another URL");
  }
  return absolutePath(/^\/[a-z]:[\\/]/i.test(path) ? path.slice(1) : path); // "/C:/locks.db" is of Windows
}
