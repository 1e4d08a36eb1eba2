import { checkInput, decodeToken, encodeToken, refuseStale } from "./fence.ts";

/** A place for the greatest token of a key in a store that changes it if it is as it was read. */
export interface Register<Version> {
  /** What is there, and in which version. */
  read(): Promise<{ readonly value: unknown; readonly version: Version } | undefined>;
  /** Puts a value in the place of that version, or of none, if nothing has come between. */
  write(value: string, version: Version | undefined): Promise<unknown>;
}

/**
 * Checks a token and remembers it. Resolves with the version in which the register has it: as long as that
 * stands, no later holder was here, since a token that comes again changes nothing.
 *
 * @throws {StaleTokenError} if a later holder was here before
 */
export async function remember<Version>(
  { read, write }: Register<Version>,
  key: string,
  token: bigint,
): Promise<Version> {
  checkInput(key, token);
  for (;;) {
    const found = await read();
    const seen = found && decodeToken(found.value);
    if (seen !== undefined) refuseStale(key, token, seen);
    if (found && seen === token) return found.version;
    // Whether it was written, or another has been faster, the next look shows.
    await write(encodeToken(token), found?.version);
  }
}
