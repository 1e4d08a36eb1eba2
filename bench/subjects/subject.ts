/** Something that is measured: a lock of ours, a lock of somebody else's, or the bare calls that are the floor. */
export interface Subject {
  /** Waits its turn. Resolves with what gives it back. `waiting` is called once it stands in line, if it can tell. */
  acquire(key: string, waiting?: () => void): Promise<() => Promise<unknown>>;
  /** Ends. */
  close(): Promise<unknown>;
}

/** The least that wakes another process, where that is no lock: a message, or the event of a watch. */
export interface Signal {
  /** Resolves when it has come; calls `waiting` as soon as it would be noticed. */
  wait(waiting: () => void): Promise<void>;
  /** Sends it. */
  pass(): Promise<unknown>;
  /** Ends. */
  close(): Promise<unknown>;
}

/** Milliseconds: the ttl of all, unless a scenario says another. */
export const TTL = 10_000;

/** A module of subjects: connects to a store, given its address and the ttl in milliseconds. */
export type Open<T = Subject> = (address: string, ttl: number) => Promise<T>;
