import { Buffer } from "node:buffer";

/** One operation on the KV store in a transaction; all of them happen, or none. */
export type Operation =
  | { readonly Verb: "get-tree" | "delete" | "delete-tree" | "check-not-exists"; readonly Key: string }
  | { readonly Verb: "check-index"; readonly Key: string; readonly Index: number }
  | { readonly Verb: "check-session"; readonly Key: string; readonly Session: string }
  | { readonly Verb: "lock"; readonly Key: string; readonly Session: string; readonly Value: string };

/** An entry of the KV store. */
export interface Pair {
  readonly Key: string;
  /** Base64; `null` in the answer to a write. */
  readonly Value: string | null;
  /** The session that the entry was written under. */
  readonly Session?: string;
  /** The store's index when the entry was created, and when it was last changed. */
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
}

/** A transaction that was refused, and had no effect. */
export interface Refusal {
  /** Which operation was refused, from 0. */
  readonly at: number;
  readonly why: string;
}

/** Puts text into a value. */
export function encodeValue(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** Takes the text out of a value. */
export function decodeValue(value: string | null): string {
  return Buffer.from(value ?? "", "base64").toString();
}
