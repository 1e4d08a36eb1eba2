import { LockManager } from "../../mod.ts";
import { SimBackend } from "./client.ts";
import { Network } from "./network.ts";
import { Oracle } from "./oracle.ts";
import { SimProcess } from "./process.ts";
import { Random } from "./random.ts";
import { Resource } from "./resource.ts";
import type { Action, Schedule } from "./schedule.ts";
import { Store } from "./store.ts";
import { type Failure, World } from "./world.ts";
import { operate, type Scene } from "./workload.ts";

/** How a schedule went. */
export interface Report {
  readonly failure: Failure | undefined;
  /** Lines, if asked for. */
  readonly history: readonly string[];
  /** How the operations ended. */
  readonly tally: ReadonlyMap<string, number>;
  readonly writes: { readonly accepted: number; readonly refused: number };
  /** Virtual milliseconds, and things that happened. */
  readonly time: number;
  readonly count: number;
}

/** Runs one schedule: faults and all, then without faults, then to the end. */
export async function run(schedule: Schedule, remember = false): Promise<Report> {
  const simulation = new Simulation(schedule, remember);
  await simulation.run();
  return simulation.report();
}

/** Milliseconds for which an action has its keys taken at least. */
function stays(action: Action): number {
  return action.do === "acquire" ? action.operation.options.atLeast ?? 0 : 0;
}

class Simulation {
  readonly #schedule: Schedule;
  readonly #world: World;
  readonly #oracle: Oracle;
  readonly #network: Network;
  readonly #store: Store;
  readonly #scene: Scene;
  readonly #processes: SimProcess[];
  readonly #managers: LockManager[];
  /** Managers that are closing, and whose they are. */
  readonly #closing = new Map<LockManager, SimProcess>();

  constructor(schedule: Schedule, remember: boolean) {
    const random = new Random(`run ${schedule.seed}`);
    this.#schedule = schedule;
    const world = this.#world = new World(remember);
    const oracle = this.#oracle = new Oracle(world);
    this.#network = new Network(world, random.fork("network"), schedule.noise);
    this.#store = new Store(world, this.#network, schedule.store, oracle);
    oracle.observe(this.#store);
    this.#scene = {
      world,
      oracle,
      resource: new Resource(world, oracle),
      open: new Set(),
      tally: new Map(),
    };
    this.#processes = schedule.processes.map((rates, index) =>
      new SimProcess(world, `p${index}`, rates, random.fork(`process ${index}`))
    );
    this.#managers = this.#processes.map((process) => this.#start(process));
  }

  async run(): Promise<void> {
    const { actions, calm, noise, retryFor, after, store } = this.#schedule;
    const { open } = this.#scene;
    const world = this.#world;
    for (const action of actions) world.at(action.at, () => this.#act(action, false));
    await world.run(calm);
    this.#calm();
    // Who was frozen catches up, and may begin something.
    await world.run(world.now + 1);
    const longest = Math.max(
      0,
      ...actions.map((each) =>
        each.do === "acquire" ? Math.max(each.operation.options.ttl!, stays(each)) : 0
      ),
    );
    const patience = actions.reduce(
      (sum, each) => each.do === "acquire" ? sum + Math.max(each.operation.hold, stays(each)) : sum,
      0,
    ) +
      noise.slowest + retryFor + store.late + 10 * (longest + 1_000);
    await this.#until(() => open.size === 0, patience, "every waiter is served");
    // What is still under way, from the time of faults, arrives; what nobody holds has expired.
    await world.run(world.now + noise.slowest + 2 * longest + store.late + 1_000);
    this.#leftovers();
    this.#oracle.calmSince = world.now;
    for (const action of after) world.at(world.now + action.at, () => this.#act(action, true));
    const holds = after.reduce(
      (sum, each) => each.do === "acquire" ? sum + Math.max(each.operation.hold, stays(each)) + 500 : sum,
      0,
    );
    await world.run(world.now + 3_000);
    await this.#until(() => open.size === 0, holds, "every waiter is served");
    await world.run(world.now + 1_000 + 1.02 * Math.max(0, ...after.map(stays)));
    this.#leftovers();
    await this.#end();
  }

  report(): Report {
    const { failure, history = [], now: time, count } = this.#world;
    const { tally, resource } = this.#scene;
    return { failure, history, tally, writes: resource.counts, time, count };
  }

  #start(process: SimProcess): LockManager {
    const { seed, retryFor, partial } = this.#schedule;
    const random = new Random(`manager ${seed} ${process.name} ${this.#world.now}`);
    const backend = new SimBackend(process, {
      store: this.#store,
      network: this.#network,
      random: random.fork("client"),
      partial,
      withdrawn: this.#oracle.withdrawn,
      name: this.#oracle.name,
    });
    return new LockManager(backend, {
      clock: process.clock,
      random: () => random.next(),
      retryFor,
      ttl: backend.traits.minTtl,
    });
  }

  /** Closes its manager and has it start with another one, as a program does that is run again. */
  #close(index: number): void {
    const manager = this.#managers[index]!;
    this.#closing.set(manager, this.#processes[index]!);
    void manager.close().then(() => this.#closing.delete(manager), (error) => {
      this.#world.fail("closing never fails", String(error?.stack ?? error));
    });
    this.#managers[index] = this.#start(this.#processes[index]!);
  }

  #act(action: Action, calm: boolean): void {
    const world = this.#world;
    const { sessions } = this.#store;
    if ("process" in action) return this.#happen(action, calm);
    if (action.do === "sever") return sessions.sever(action.ms);
    if (action.do === "restart") {
      world.note("store", `restarts, which takes ${Math.round(action.ms)} ms`);
      this.#network.restart(action.ms);
      this.#store.forgetWatchers();
      return world.at(world.now + action.ms, () => sessions.restart(), false);
    }
    if (action.do === "revoke") return this.#store.revoke(`holdfast/${action.key}`, action.index);
    if (action.do === "expel") {
      const lease = [...sessions.all][action.index];
      if (lease !== undefined) sessions.end(lease, "revoked", action.index % 2 === 0);
    }
  }

  /** To one process. */
  #happen(action: Extract<Action, { process: number }>, calm: boolean): void {
    const world = this.#world;
    const process = this.#processes[action.process]!;
    switch (action.do) {
      case "acquire":
        return process.deliver(() =>
          operate(this.#scene, process, this.#managers[action.process]!, action.operation, calm)
        );
      case "close":
        return process.deliver(() => {
          world.note(process.name, "closes its manager");
          this.#close(action.process);
        });
      case "crash":
        world.note(process.name, "is killed");
        process.dead = true;
        return;
      case "wall":
        world.note(process.name, `wall clock steps by ${Math.round(action.ms)} ms`);
        return process.stepWall(action.ms);
      case "cut":
        world.note(process.name, `is cut off (${action.way}) for ${Math.round(action.ms)} ms`);
        return this.#network.cut(process, action.way, action.ms);
      default:
        if (process.frozen === undefined) {
          world.note(process.name, `${action.do} for ${Math.round(action.ms)} ms`);
        }
        process.freeze(action.do, action.ms);
    }
  }

  /** Faults stop; who was killed is started again. */
  #calm(): void {
    this.#world.note("", "faults stop");
    this.#network.calm(this.#schedule.distance);
    this.#store.sessions.heal();
    for (const [index, process] of this.#processes.entries()) {
      process.thaw();
      if (!process.dead) continue;
      for (const name of this.#scene.open) {
        if (name.startsWith(`${process.name} `)) this.#scene.open.delete(name);
      }
      const { seed, processes } = this.#schedule;
      const name = `p${index}'`;
      const random = new Random(`run ${seed}`).fork(name);
      this.#processes[index] = new SimProcess(this.#world, name, processes[index]!, random);
      this.#managers[index] = this.#start(this.#processes[index]!);
    }
  }

  async #until(done: () => boolean, ms: number, promise: string): Promise<void> {
    await this.#world.run(this.#world.now + ms, done);
    if (done()) return;
    const waiting = [...this.#scene.open].join("; ");
    const there = this.#store.live().map((entry) => this.#oracle.show(entry)).join("; ");
    this.#world.fail(promise, `after ${Math.round(ms)} ms these wait: ${waiting}. In the store: ${there}`);
  }

  /** Nobody holds or waits: an entry that is still alive is one nobody knows of. */
  #leftovers(): void {
    const there = this.#store.live().map((entry) => this.#oracle.show(entry));
    if (there.length > 0) this.#world.fail("nothing is left behind", `in the store: ${there.join("; ")}`);
  }

  /** Everybody leaves. */
  async #end(): Promise<void> {
    for (const index of this.#processes.keys()) this.#world.at(this.#world.now, () => this.#close(index));
    await this.#world.run(this.#world.now);
    const closed = () => [...this.#closing.values()].every(({ dead }) => dead);
    await this.#until(closed, 2_000, "closing comes to an end");
    await this.#world.run(this.#world.now + 60_000);
    for (const process of this.#processes) {
      if (process.timers > 0) {
        this.#world.fail("a closed manager lets the process exit", `${process.name} has timers`);
      }
    }
    const { all } = this.#store.sessions;
    if (this.#schedule.store.kind !== "claim" && all.size > 0) {
      this.#world.fail("nothing is left behind", `${all.size} leases are still open`);
    }
  }
}
