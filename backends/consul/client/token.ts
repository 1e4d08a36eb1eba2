import { refused } from "../../shared/errors.ts";

/** The ACL token, or how to get it. */
export type TokenSource = string | (() => string | Promise<string>);

/** Whether a token can be sent in a header. */
export function isToken(token: unknown): token is string {
  return typeof token === "string" && /^[!-~]*$/.test(token);
}

/**
 * The ACL token that requests bear. A function that gives it is asked before the first request and whenever
 * the agent has refused the token there is: a rotation costs one refusal, a request no look-up, and however
 * many requests are refused together, they ask once.
 */
export class Token {
  readonly #source: TokenSource | undefined;
  #known: string | undefined;
  #asking: Promise<string> | undefined;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
    if (typeof source !== "function") this.#known = source;
  }

  /** The token that was sent last: it has to be in no error. */
  get known(): string | undefined {
    return this.#known;
  }

  /** The token to send: at once, if it is known. */
  get(): string | undefined | Promise<string> {
    return this.#known ?? (typeof this.#source === "function" ? this.#ask() : undefined);
  }

  /** Another token than the one that was refused; `undefined` if there is none. */
  async instead(refused: string | undefined): Promise<string | undefined> {
    if (typeof this.#source !== "function") return undefined;
    const token = this.#known === refused ? await this.#ask() : this.#known;
    return token === refused ? undefined : token;
  }

  #ask(): Promise<string> {
    return this.#asking ??= this.#call().finally(() => this.#asking = undefined);
  }

  async #call(): Promise<string> {
    let token: unknown;
    try {
      token = await (this.#source as () => string | Promise<string>)();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw refused("get the ACL token", `the function "token" failed: ${reason}`);
    }
    if (!isToken(token)) {
      throw refused(
        "get the ACL token",
        'expected the function "token" to give printable ASCII without spaces',
        { retryable: false },
      );
    }
    return this.#known = token;
  }
}
