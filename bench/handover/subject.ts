/** Something that one process passes to another: a lock, or the bare signal that is its floor. */
export interface Subject {
  /** Resolves when this process has it; calls `waiting` when it stands in line. */
  wait(waiting: () => void): Promise<void>;
  /** Passes it on. */
  pass(): Promise<void>;
  /** Ends. */
  close(): Promise<void>;
}
