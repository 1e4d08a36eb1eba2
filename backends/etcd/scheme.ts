import type { Scheme } from "../shared/scheme.ts";
import { checkTls, readPems, TLS_SETTINGS } from "../shared/tls.ts";
import { credentialsOf, hostsOf, pick } from "../shared/url.ts";
import { type EtcdOptions, readTarget } from "./address.ts";
import { ETCD_TRAITS } from "./traits.ts";

/** `etcd://user:password@host1:2379,host2:2379`, `etcds:` for TLS. */
export const etcdScheme: Scheme = {
  names: ["etcd", "etcds"],
  title: "etcd, by some of its members",
  example: "etcd://user:password@host1:2379,host2:2379",
  settings: TLS_SETTINGS,
  read(url) {
    const isSecure = url.scheme === "etcds";
    checkTls(url, isSecure, "etcds");
    if (!/^\/?$/.test(url.path)) {
      throw new TypeError(`Cannot use a path of the ${url.scheme} URL: etcd has none`);
    }
    const hosts = hostsOf(url, 2379).map((host) => `${isSecure ? "https" : "http"}://${host}`);
    const tls = pick(url.settings, ["servername"]);
    const options: EtcdOptions = { hosts, ...credentialsOf(url), ...(isSecure && { tls }) };
    readTarget(options);
    const complete = async () =>
      isSecure ? { ...options, tls: { ...tls, ...await readPems(url.settings) } } : options;
    return {
      name: "etcd",
      traits: ETCD_TRAITS,
      given: [options],
      async load() {
        const [{ etcd }, address] = await Promise.all([import("../etcd.ts"), complete()]);
        return etcd(address);
      },
      async *examine(checkup) {
        const [{ examine }, address] = await Promise.all([import("./doctor.ts"), complete()]);
        yield* examine(address, checkup);
      },
    };
  },
};
