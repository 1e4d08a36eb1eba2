import type { Scheme } from "../shared/scheme.ts";
import { checkTls, readPems, TLS_SETTINGS } from "../shared/tls.ts";
import { hostsOf, pick, queryOf } from "../shared/url.ts";
import { type ConsulOptions, settings } from "./address.ts";
import { CONSUL_TRAITS } from "./traits.ts";

/** `consul://host:8500`, `consuls:` for TLS. */
export const consulScheme: Scheme = {
  names: ["consul", "consuls"],
  title: "Consul, by an agent",
  example: "consul://host:8500?token=...",
  settings: {
    token: { kind: "secret", says: "the ACL token" },
    dc: { kind: "text", says: "the datacenter that keeps the locks", otherwise: "the agent's own" },
    ns: { kind: "text", says: "the namespace of Consul Enterprise", otherwise: "that of the token" },
    partition: {
      kind: "text",
      says: "the admin partition of Consul Enterprise",
      otherwise: "the agent's own",
    },
    prefix: { kind: "text", says: "put before every key in the KV store" },
    node: {
      kind: "text",
      says: "the node of the catalog that sessions belong to",
      otherwise: "the agent's own",
    },
    ...TLS_SETTINGS,
  },
  hints: { datacenter: "give dc", namespace: "give ns", stale: "what is asked is never stale" },
  read(url) {
    const isSecure = url.scheme === "consuls";
    checkTls(url, isSecure, "consuls");
    if (url.userinfo !== "" && !url.userinfo.includes(":")) {
      throw new TypeError(
        "Cannot use a user without a password in a consul URL: both are for a proxy in front of the agent, " +
          "and an ACL token is written ?token=...",
      );
    }
    const [host, ...others] = hostsOf(url, isSecure ? 8501 : 8500);
    if (others.length > 0) {
      throw new TypeError(
        "Cannot use several hosts in a consul URL: name one agent, or give a locator to consul()",
      );
    }
    const query = queryOf(url.settings, ["dc", "ns", "partition"]);
    const target = `${isSecure ? "https" : "http"}://${url.userinfo}${host}${url.path}${query}`;
    const options: ConsulOptions = pick(url.settings, ["token", "prefix", "node", "servername"]);
    settings(target, options);
    return {
      name: "consul",
      traits: CONSUL_TRAITS,
      given: [target, options],
      async load() {
        const [{ consul }, pems] = await Promise.all([import("../consul.ts"), readPems(url.settings)]);
        return consul(target, { ...options, ...pems });
      },
      async *examine(checkup) {
        const [{ examine }, pems] = await Promise.all([import("./doctor.ts"), readPems(url.settings)]);
        yield* examine(target, { ...options, ...pems }, checkup);
      },
    };
  },
};
