/** How a store is named by a URL: what `connect` needs to know of it before it is loaded. */
import type { Backend, Traits } from "../../internal/backend.ts";
import type { Checkup, Examination } from "./doctor.ts";

/**
 * What the text of a parameter says: a "secret" is a text that is shown nowhere, a "flag" is `true` or `false`, a
 * "file" is the path of one.
 */
export type SettingKind = "text" | "secret" | "number" | "flag" | "file";

/** A parameter of a URL. */
export interface Setting {
  readonly kind: SettingKind;
  /** What it is for, with the unit: a row of the documentation. */
  readonly says: string;
  /** What holds without it. */
  readonly otherwise?: string;
}

/** What the parameters of a URL say, by their names. */
export type Settings = Readonly<Record<string, string | number | boolean>>;

/** A URL taken apart. All but the settings is still escaped. */
export interface StoreUrl {
  /** In lower case, without the colon. */
  readonly scheme: string;
  /** `user:password@`, or nothing. */
  readonly userinfo: string;
  /** `host` or `host:port`, separated by commas in the URL; without `//` there are none. */
  readonly hosts: readonly string[];
  /** With its slash. */
  readonly path: string;
  readonly settings: Settings;
}

/** A kind of URLs, and the store that they name. Loading this loads no store. */
export interface Scheme {
  /** What stands before the colon, in lower case. The first is the usual one. */
  readonly names: readonly string[];
  /** What it names, for people. */
  readonly title: string;
  /** A URL with all its parts. */
  readonly example: string;
  /** The parameters that there are, by name. */
  readonly settings: Readonly<Record<string, Setting>>;
  /** What is to be done instead of giving a parameter that there is not, by its name. */
  readonly hints?: Readonly<Record<string, string>>;
  /**
   * Reads the rest of the URL.
   *
   * @throws {TypeError | RangeError} If it names no store. The message repeats nothing that may be a part of a secret.
   */
  read(url: StoreUrl): Opening;
}

/** A store that a URL names, and that is not loaded yet. */
export interface Opening {
  /** As {@linkcode Backend.name}. */
  readonly name: string;
  /** As {@linkcode Backend.traits}. */
  readonly traits: Traits;
  /** What its factory is given, but for the contents of files. Passwords are in it. */
  readonly given: readonly unknown[];
  /** Loads the module of the store, and makes a backend: another one at each call. */
  load(): Promise<Backend>;
  /** Loads what says what a lock there is worth, and looks. */
  examine(checkup: Checkup): Examination;
}
