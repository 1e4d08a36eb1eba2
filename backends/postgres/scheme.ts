import type { Scheme } from "../shared/scheme.ts";
import { pick, queryOf } from "../shared/url.ts";
import { address } from "./client/address.ts";
import { checkSchema } from "./client/literal.ts";
import { ELSEWHERE } from "./client/url.ts";
import { POSTGRES_TRAITS } from "./traits.ts";

/** What `postgres()` is given beside the URL. */
const OPTIONS = ["schema", "listen"];

/** `postgres://user:password@host1,host2/database`, as libpq reads it. */
export const postgresScheme: Scheme = {
  names: ["postgres", "postgresql"],
  title: "Postgres, by one host or several",
  example: "postgres://user:password@host1:5432,host2:5432/database?sslmode=verify-full",
  settings: {
    schema: { kind: "text", says: "the schema that the tables are in", otherwise: "`holdfast`" },
    listen: {
      kind: "secret",
      says: "the URL, escaped, to listen at for notifications where the first is a pooler's",
    },
    host: {
      kind: "text",
      says: "in place of the hosts in front: names, addresses or the folder of a socket",
    },
    port: { kind: "text", says: "goes with `host`", otherwise: "5432" },
    dbname: { kind: "text", says: "the database", otherwise: "named as the user" },
    user: { kind: "text", says: "the role", otherwise: "the user of the operating system" },
    password: { kind: "secret", says: "its password" },
    sslmode: {
      kind: "text",
      says: "as libpq has it: disable, allow, prefer, require, verify-ca, verify-full",
      otherwise: "prefer",
    },
    sslrootcert: { kind: "file", says: "the authorities to trust, as PEM, or `system`" },
    sslcert: { kind: "file", says: "the certificate to show to the server, as PEM" },
    sslkey: { kind: "file", says: "the private key of `sslcert`, as PEM" },
    sslnegotiation: { kind: "text", says: "how TLS begins: postgres, direct", otherwise: "postgres" },
    connect_timeout: { kind: "number", says: "whole seconds, for each host", otherwise: "no limit" },
    application_name: {
      kind: "text",
      says: "what the server shows of the connection",
      otherwise: "`holdfast`",
    },
    options: { kind: "text", says: "settings of the server for the connection: `-c work_mem=1MB`, escaped" },
    target_session_attrs: {
      kind: "text",
      says: "read-write, primary, any: a server that takes writes is used anyway",
    },
    channel_binding: { kind: "text", says: "prefer, disable: a login is not bound to TLS" },
    gssencmode: { kind: "text", says: "prefer, disable: GSSAPI is not spoken" },
  },
  hints: { ...ELSEWHERE, search_path: "give schema" },
  read(url) {
    const passedOn = Object.keys(url.settings).filter((name) => !OPTIONS.includes(name));
    const query = queryOf(url.settings, passedOn);
    const target = `${url.scheme}://${url.userinfo}${url.hosts.join()}${url.path}${query}`;
    const options: { schema?: string; listen?: string } = pick(url.settings, OPTIONS);
    address(target);
    if (options.listen !== undefined) address(options.listen);
    if (options.schema !== undefined) checkSchema(options.schema);
    return {
      name: "postgres",
      traits: POSTGRES_TRAITS,
      given: [target, options],
      load: async () => (await import("../postgres.ts")).postgres(target, options),
      async *examine(checkup) {
        yield* (await import("./doctor.ts")).examine(target, options, checkup);
      },
    };
  },
};
