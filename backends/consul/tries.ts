import type { Found } from "../shared/queues.ts";
import type { ConsulQueued } from "./entries.ts";

type Answer = Found<ConsulQueued>;

/**
 * Several calls of `tryAcquire` at a time: while one asks the store, those that come then wait for
 * it, and one of them asks for all the others. So nobody takes the answer to a question that was
 * asked before their own call, and a crowd costs two questions.
 */
export class Tries {
  readonly #asking = new Map<string, Promise<unknown>>();
  readonly #next = new Map<string, Promise<Answer>>();

  /** `same`: the calls whose refusal is a refusal for each of them. */
  async ask(same: string, ask: () => Promise<Answer>): Promise<Answer> {
    const next = this.#next.get(same);
    if (next !== undefined) {
      const outcome = await next.catch(() => undefined);
      return outcome !== undefined && "state" in outcome && outcome.state === "contended"
        ? outcome
        : await ask();
    }
    const asking = this.#asking.get(same);
    if (asking === undefined) return await this.#run(same, ask);
    const mine = asking.then(() => this.#run(same, ask));
    this.#next.set(same, mine);
    return await mine;
  }

  #run(same: string, ask: () => Promise<Answer>): Promise<Answer> {
    this.#next.delete(same);
    const answer = ask();
    const over = answer.then(() => {}, () => {}).then(() => {
      if (this.#asking.get(same) === over) this.#asking.delete(same);
    });
    this.#asking.set(same, over);
    return answer;
  }
}
