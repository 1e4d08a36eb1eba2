/** A call that the store has acknowledged. */
interface Answered {
  readonly sent: number;
  readonly answered: number;
}

/**
 * When the store last restarted the timer of a lease, as far as its answers prove: the send times of
 * the calls it has acknowledged, the opening first. Where a store passes renewals on with a delay
 * (`settle`), one counts only once another is acknowledged as well that was sent that much after its
 * answer: it may have reached the store as late as that.
 */
export class Acknowledged {
  readonly #settle: number;
  /** In the order of their sending; nothing older than what counts now. */
  readonly #calls: Answered[];

  constructor(opened: number, settle: number) {
    this.#calls = [{ sent: opened, answered: opened }];
    this.#settle = settle;
  }

  /** The latest send time that counts. */
  get since(): number {
    return this.#calls[0]!.sent;
  }

  /** One more call has been acknowledged. */
  add(sent: number, answered: number): void {
    const all = this.#calls;
    // Where nothing has to settle, each counts by itself.
    all.push({ sent, answered: this.#settle === 0 ? sent : answered });
    all.sort((one, other) => one.sent - other.sent);
    const settled = all.at(-1)!.sent - this.#settle;
    const counts = all.findLastIndex((call) => call.answered <= settled);
    if (counts > 0) all.splice(0, counts);
  }
}
