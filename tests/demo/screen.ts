/** How a process stands, and how a tick of its lane is drawn. */
export type State = "idle" | "waiting" | "holding" | "stopped" | "dead";

const TICK = 100;
const HISTORY = 8;

const LOOKS: Record<State, readonly [glyph: string, color: number]> = {
  idle: [" ", 90],
  waiting: ["·", 90],
  holding: ["█", 32],
  stopped: ["▒", 33],
  dead: ["×", 31],
};

/**
 * The live picture: a lane of time for each process above the latest events. Where the output is not a
 * terminal, the events alone, one line each.
 */
export class Screen {
  readonly #names: readonly string[];
  readonly #states = new Map<string, { state: State; token: string }>();
  readonly #lanes = new Map<string, string[]>();
  readonly #events: string[] = [];
  readonly #began = Date.now();
  readonly #live: boolean = process.stdout.isTTY === true;
  readonly #colors: boolean = this.#live && !process.env.NO_COLOR;
  #timer: ReturnType<typeof setInterval> | undefined;
  #drawn = 0;

  constructor(names: readonly string[]) {
    this.#names = names;
    for (const name of names) {
      this.#states.set(name, { state: "idle", token: "" });
      this.#lanes.set(name, []);
    }
    if (this.#live) this.#timer = setInterval(() => this.#tick(), TICK);
  }

  /** A process stands differently now. */
  set(name: string, state: State, token = ""): void {
    this.#states.set(name, { state, token });
  }

  /** How it stands. */
  state(name: string): State {
    return this.#states.get(name)!.state;
  }

  /** Something happened. */
  say(name: string, text: string, color = 0): void {
    const at = ((Date.now() - this.#began) / 1_000).toFixed(2).padStart(6);
    const line = `${this.#paint(90, `${at} s`)}  ${name.padEnd(8)} ${this.#paint(color, text)}`;
    if (this.#live) this.#events.push(line);
    else console.log(line);
  }

  /** The last picture stays. */
  end(): void {
    if (!this.#live) return;
    clearInterval(this.#timer);
    this.#draw();
  }

  /** Text in a color, where there are any. */
  paint(color: number, text: string): string {
    return this.#paint(color, text);
  }

  #tick(): void {
    for (const name of this.#names) {
      const [glyph, color] = LOOKS[this.#states.get(name)!.state];
      this.#lanes.get(name)!.push(this.#paint(color, glyph));
    }
    this.#draw();
  }

  #draw(): void {
    const width = Math.max(20, Math.min((process.stdout.columns ?? 80) - 30, 120));
    const lanes = this.#names.map((name) => {
      const { state, token } = this.#states.get(name)!;
      const label = state === "holding"
        ? this.#paint(32, `holds, token ${token}`)
        : this.#paint(LOOKS[state][1], state);
      const lane = this.#lanes.get(name)!.slice(-width);
      return `  ${name.padEnd(8)} ${lane.join("")}${" ".repeat(width - lane.length)} ${label}`;
    });
    const lines = [...lanes, "", ...this.#events.slice(-HISTORY).map((line) => `  ${line}`)];
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : "";
    process.stdout.write(up + lines.map((line) => `\x1b[2K${line}\n`).join("") + "\x1b[0J");
    this.#drawn = lines.length;
  }

  #paint(color: number, text: string): string {
    return this.#colors && color !== 0 ? `\x1b[${color}m${text}\x1b[0m` : text;
  }
}
