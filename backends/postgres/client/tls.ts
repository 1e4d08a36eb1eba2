import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { refused } from "../../shared/errors.ts";
import type { Address, Host } from "./options.ts";

/**
 * What libpq's `sslmode` means in the words of `node:tls`. `require` with authorities to trust means `verify-ca`, as
 * there. Files are read at each connection: certificates are replaced while a program runs.
 */
export async function tlsOptions(address: Address, { host }: Host): Promise<ConnectionOptions> {
  const { mode, tls, files, asTheirs } = address;
  if (mode === "disable") return {};
  if (asTheirs) return { host, ...(isIP(host) === 0 && { servername: host }), ...asTheirs };
  const [ca, cert, key] = await Promise.all([
    files.sslrootcert === "system" ? undefined : file("sslrootcert", files.sslrootcert),
    file("sslcert", files.sslcert),
    file("sslkey", files.sslkey),
  ]);
  const given = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), ...tls };
  const name = given.servername ?? host;
  const isChecked = mode.startsWith("verify-") || mode === "require" && given.ca !== undefined;
  return {
    ...given as ConnectionOptions,
    host: name,
    ...(isIP(name) === 0 && { servername: name }),
    rejectUnauthorized: isChecked,
    ...(mode !== "verify-full" && { checkServerIdentity: () => undefined }),
  };
}

async function file(name: string, path: string | undefined): Promise<Uint8Array | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    const said = (error as { code?: string }).code ?? (error as Error).message;
    throw refused(`read the file that \`${name}\` of the Postgres address names`, said, { retryable: false });
  }
}
