import { createHash } from "node:crypto";
import type { Redis } from "ioredis";

const DELETE = `if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`;
const SET = `return redis.call("SET", KEYS[1], ARGV[1], "NX", "PX", ARGV[2])`;

/** The least a lock can do: set a key unless it is there, delete it if it is ours. No queue, no token. */
export class Floor {
  readonly #client: Redis;
  readonly #delete: string;
  readonly #set: string;

  private constructor(client: Redis) {
    this.#client = client;
    [this.#delete, this.#set] = [DELETE, SET].map((script) =>
      createHash("sha1").update(script).digest("hex")
    ) as [
      string,
      string,
    ];
  }

  static async over(client: Redis): Promise<Floor> {
    await Promise.all([DELETE, SET].map((script) => client.script("LOAD", script)));
    return new Floor(client);
  }

  /** `SET NX PX` and a script that compares and deletes. */
  async cycle(key: string): Promise<void> {
    const id = crypto.randomUUID();
    await this.take(key, id);
    await this.give(key, id);
  }

  /** The first half of it. */
  take(key: string, id: string): Promise<unknown> {
    return this.#client.set(key, id, "PX", 10_000, "NX");
  }

  /** The second. */
  give(key: string, id: string): Promise<unknown> {
    return this.#client.evalsha(this.#delete, 1, key, id);
  }

  /** The same by two scripts. */
  async scripts(key: string): Promise<void> {
    const id = crypto.randomUUID();
    await this.#client.evalsha(this.#set, 1, key, id, 10_000);
    await this.#client.evalsha(this.#delete, 1, key, id);
  }
}
