import type { Buffer } from "node:buffer";
import { Channel, type ChannelHearer } from "./channel.ts";
import type { Credentials } from "./dial.ts";
import type { WatchResponse } from "./messages.ts";
import type { Bounds, Connection, MemberCalls, WatchStream } from "./port.ts";
import type { Message } from "./protobuf.ts";
import * as schema from "./schema.ts";
import { EtcdError, isLoginNeedless, isStaleToken } from "./errors.ts";

/** Who we are to etcd. */
export interface User {
  readonly username: string;
  readonly password: string;
}

const METHODS: Record<keyof MemberCalls, readonly [path: string, request: Message, response: Message]> = {
  range: ["KV/Range", schema.RangeRequest, schema.RangeResponse],
  txn: ["KV/Txn", schema.TxnRequest, schema.TxnResponse],
  leaseGrant: ["Lease/LeaseGrant", schema.LeaseGrantRequest, schema.LeaseGrantResponse],
  leaseRevoke: ["Lease/LeaseRevoke", schema.LeaseRevokeRequest, schema.LeaseRevokeResponse],
  // A stream both ways, of which one message each way is enough.
  leaseKeepAlive: ["Lease/LeaseKeepAlive", schema.LeaseKeepAliveRequest, schema.LeaseKeepAliveResponse],
  leaseTimeToLive: ["Lease/LeaseTimeToLive", schema.LeaseTimeToLiveRequest, schema.LeaseTimeToLiveResponse],
  status: ["Maintenance/Status", schema.StatusRequest, schema.StatusResponse],
  memberList: ["Cluster/MemberList", schema.MemberListRequest, schema.MemberListResponse],
};

/** Milliseconds; etcd is slow at comparing passwords, on purpose. */
const LOGIN = 5_000;

/** A connection to one member of the cluster, with its login. */
export class Member implements Connection {
  readonly #channel: Channel;
  readonly #user: User | undefined;
  #login: Promise<Record<string, string>> | undefined;

  constructor(
    origin: string,
    credentials: Credentials,
    user: User | undefined,
    hearer: ChannelHearer,
  ) {
    this.#channel = new Channel(origin, credentials, hearer);
    this.#user = user;
  }

  get ready(): Promise<void> {
    return this.#channel.ready;
  }

  async call<M extends keyof MemberCalls>(
    method: M,
    request: MemberCalls[M][0],
    bounds: Bounds,
  ): Promise<MemberCalls[M][1]> {
    const [path, asked, answered] = METHODS[method];
    const message = asked.encode(request);
    const stays = method === "leaseKeepAlive";
    for (let tries = 1;; tries++) {
      const login = this.#user && this.#loggedIn(this.#user, bounds);
      try {
        const reply = await this.#channel.call(path, message, await login ?? {}, { ...bounds, stays });
        return decoded(answered, reply) as MemberCalls[M][1];
      } catch (error) {
        // Refused before it was looked at, so it may be sent again.
        if (login === undefined || tries > 1 || !isStaleToken(error)) throw error;
        if (this.#login === login) this.#login = undefined;
      }
    }
  }

  async watch(
    hear: (response: WatchResponse) => void,
    ended: (error: unknown) => void,
  ): Promise<WatchStream> {
    const token = this.#user && await this.#loggedIn(this.#user, {});
    let closed = false;
    const exchange = this.#channel.listen("Watch/Watch", { ...token, hasleader: "true" }, {
      message(message) {
        let response: WatchResponse;
        try {
          response = decoded(schema.WatchResponse, message) as unknown as WatchResponse;
        } catch (error) {
          return exchange.end(error as EtcdError);
        }
        hear(response);
      },
      over: (error) => closed || ended(error ?? EtcdError.unavailable("etcd has ended the watch stream")),
    });
    return {
      send: (request) => exchange.send(schema.WatchRequest.encode(request)),
      close() {
        closed = true;
        exchange.end();
      },
    };
  }

  refused(): void {
    this.#login = undefined;
  }

  close(error: EtcdError = EtcdError.unavailable("it was closed")): void {
    this.#channel.close(error);
  }

  /** The header that says who we are; none, where etcd asks for no user. */
  #loggedIn(user: User, { share = LOGIN }: Pick<Bounds, "share">): Promise<Record<string, string>> {
    if (this.#login !== undefined) return this.#login;
    const login = this.#authenticate(user, share);
    login.catch(() => this.#login === login && (this.#login = undefined));
    return this.#login = login;
  }

  async #authenticate({ username, password }: User, share: number): Promise<Record<string, string>> {
    const message = schema.AuthenticateRequest.encode({ name: username, password });
    try {
      const bounds = { timeout: LOGIN, share: Math.min(share, LOGIN), urgent: true };
      const reply = await this.#channel.call("Auth/Authenticate", message, {}, bounds);
      const { token } = decoded(schema.AuthenticateResponse, reply);
      if (token === "") throw EtcdError.unreadable("a login without a token");
      return { token: `${token}` };
    } catch (error) {
      if (isLoginNeedless(error)) return {};
      throw error;
    }
  }
}

/** Bytes that are no message are a failure of the connection, not an answer. */
function decoded(message: Message, bytes: Buffer): Record<string, unknown> {
  try {
    return message.decode(bytes);
  } catch (error) {
    throw EtcdError.unreadable((error as Error).message, error);
  }
}
