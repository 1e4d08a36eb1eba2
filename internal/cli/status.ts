/** What the command line ends with, and what it says of an error. */
import { constants } from "node:os";
import { BackendError, LockError, LockLostError } from "../errors.ts";

/** Exit statuses, where it is not that of the command; named as in `sysexits.h`, as far as that has them. */
export const STATUS = {
  ok: 0,
  /** Something else went wrong. */
  failed: 1,
  /** Bad usage. */
  usage: 64,
  /** The store is away, or refuses. */
  unavailable: 69,
  /** What was asked for cannot be written. */
  unwritten: 74,
  /** The lock was not to be had. */
  contended: 75,
  /** The lock was lost while the command ran. */
  lost: 76,
  /** The command is there and cannot be executed, as shells say it. */
  notExecutable: 126,
  /** There is no such command, as shells say it. */
  notFound: 127,
} as const;

/** Bad usage: what is wrong is in the message. */
export class UsageError extends Error {}

/** An answer that cannot be written, as on a disk that is full. */
export class OutputError extends Error {}

/** The status for who was ended by a signal, as shells have it: 128 and its number. */
export function statusOf(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}

/** The status for an error. */
export function statusFor(error: unknown): number {
  if (error instanceof BackendError) return STATUS.unavailable;
  if (error instanceof LockLostError) return STATUS.lost;
  if (error instanceof OutputError) return STATUS.unwritten;
  if (error instanceof UsageError || error instanceof TypeError || error instanceof RangeError) {
    return STATUS.usage;
  }
  return STATUS.failed;
}

/** What to say of an error: those that are no fault of the user's or the store's with where they come from. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const known = error instanceof LockError || statusFor(error) !== STATUS.failed;
  return known ? error.message : error.stack ?? error.message;
}
