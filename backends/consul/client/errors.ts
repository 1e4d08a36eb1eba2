import type { BackendError } from "../../../internal/errors.ts";
import { meaningOf, type Refusals, refused } from "../../shared/errors.ts";
import type { Endpoint } from "./endpoint.ts";

/** What replies mean whose status is no answer to what was asked. */
const REFUSALS: Refusals = [
  [/answered 403: .*(permission denied|acl not found|acl support disabled)/is, {
    hint:
      'Consul refused the ACL token: it needs "write" on the key prefix in use and on the sessions of the ' +
      "agent's node",
    retryable: false,
  }],
  [/Invalid Session TTL/, {
    hint: `the servers' "session_ttl_min" has been raised: ask for a longer ttl`,
    retryable: false,
  }],
  [/Consul Enterprise/, {
    hint: "leave out what only Consul Enterprise has: namespace and partition",
    retryable: false,
  }],
  [/invalid key name|key contains|key must not begin/i, {
    hint: "the servers check names of keys: choose another prefix",
    retryable: false,
  }],
  [/answered (429|5\d\d): /, {}],
];

const NOT_CONSUL = { hint: "is there a Consul agent at this address?" };

/** What TLS is called that has been answered in plain HTTP, by the three runtimes. */
const NO_TLS = /wrong.version.number|InvalidContentType|packet.length|http.request|unknown.protocol/i;

/** A reply with a status that is no answer to what was asked. `said`: what the reply says, fit to be shown. */
export function noAnswer(what: string, status: number, said: string): BackendError {
  const text = `Consul answered ${status}: ${
    said || (status === 429 ? "too many requests" : "no reason given")
  }`;
  return refused(what, text, meaningOf(REFUSALS, [], [text]) ?? NOT_CONSUL);
}

/** A reply of which it is not proven that Consul gave it. */
export function notBelieved(what: string, why: string, said: string): BackendError {
  return refused(what, said === "" ? why : `${why}: ${said}`, NOT_CONSUL);
}

/** A request without a complete reply. `reason`: the message of the cause, fit to be shown. */
export function unreachable(at: Endpoint, reason: string, cause: unknown): BackendError {
  if (!at.secure && /is TLS/.test(reason)) return speaksTls(at);
  const plain = at.secure && NO_TLS.test(`${reason} ${(cause as { code?: string })?.code}`);
  const hint = plain
    ? "does it speak plain HTTP there? Then its address begins with http://, or consul:// for connect()"
    : "is it running there, and has it room for more connections from here, " +
      "limits.http_max_conns_per_client?";
  return refused(talking(at), reason, { hint }, cause);
}

/** Plain HTTP was spoken where TLS is. */
export function speaksTls(at: Endpoint): BackendError {
  return refused(talking(at), "it speaks TLS there", {
    hint: "give its address as https://, or consuls:// for connect(), or the option `secure`",
    retryable: false,
  });
}

function talking({ host, port }: Endpoint): string {
  return `talk to the Consul agent at ${host}:${port}`;
}
