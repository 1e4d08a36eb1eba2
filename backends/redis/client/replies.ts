/** Replies are believed only if they are replies: whatever else comes leaves the outcome unknown. */
import type { BackendError } from "../../../internal/errors.ts";
import { refused } from "../../shared/errors.ts";

/** A list of at least so many. */
export function list(reply: unknown, least: number): unknown[] {
  if (Array.isArray(reply) && reply.length >= least) return reply;
  throw unexpected(reply);
}

/** A whole number; clients may be told to make strings or bigints of them. */
export function whole(reply: unknown): number {
  const kind = typeof reply;
  const number = kind === "number" || kind === "bigint" || kind === "string" && reply !== ""
    ? Number(reply)
    : NaN;
  if (Number.isSafeInteger(number)) return number;
  throw unexpected(reply);
}

/** A list of at least so many whole numbers. */
export function numbers(reply: unknown, least: number): number[] {
  return list(reply, least).map(whole);
}

/** A text, as it is or in bytes. */
export function text(reply: unknown): string {
  if (typeof reply === "string") return reply;
  if (reply instanceof Uint8Array) return new TextDecoder().decode(reply);
  throw unexpected(reply);
}

/** An answer that is none. */
export function unexpected(reply: unknown): BackendError {
  // What every command is answered with while a MULTI is open on the connection.
  const meaning = reply === "QUEUED" ? { hint: "the client that was handed in has an open MULTI" } : {};
  const shown = typeof reply === "string"
    ? JSON.stringify(reply.slice(0, 40))
    : Array.isArray(reply)
    ? `a list of ${reply.length}`
    : `${reply}`;
  return refused("make sense of what Redis replied", shown, meaning);
}
