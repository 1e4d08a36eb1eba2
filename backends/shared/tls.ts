/** What URLs say of TLS, the same for every store but Postgres, which does as libpq does. */
import { refused } from "./errors.ts";
import type { Setting, Settings, StoreUrl } from "./scheme.ts";

/** The parameters about TLS that are the same for every store. */
export const TLS_SETTINGS: Readonly<Record<"ca" | "cert" | "key" | "servername", Setting>> = {
  ca: { kind: "file", says: "the authorities to trust instead of those of the runtime, as PEM" },
  cert: { kind: "file", says: "the certificate to show to the server, as PEM" },
  key: { kind: "file", says: "the private key of `cert`, as PEM" },
  servername: {
    kind: "text",
    says: "the name that the server's certificate must bear",
    otherwise: "its host",
  },
};

/** Certificates, as PEM. */
export interface Pems {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Checks the parameters about TLS.
 *
 * @throws {TypeError} If TLS is not spoken at all; `secure` is the scheme to write for it. If half of a pair is missing.
 */
export function checkTls(url: StoreUrl, isSecure: boolean, secure: string): void {
  const named = [...Object.keys(TLS_SETTINGS), "passphrase", "rejectUnauthorized"];
  const one = named.find((name) => name in url.settings);
  if (one !== undefined && !isSecure) {
    throw new TypeError(
      `Cannot use the parameter "${one}" of the ${url.scheme} URL without TLS: write ${secure}:`,
    );
  }
  if (("cert" in url.settings) === ("key" in url.settings)) return;
  throw new TypeError(
    `Cannot use half of a pair of the ${url.scheme} URL: give both cert and key, or neither`,
  );
}

/**
 * Reads the files that parameters name.
 *
 * @throws {BackendError} If one cannot be read, or is no PEM.
 */
export async function readPems(settings: Settings): Promise<Pems> {
  const named = (["ca", "cert", "key"] as const).filter((name) => name in settings);
  return Object.fromEntries(
    await Promise.all(named.map(async (name) => [name, await readPem(name, `${settings[name]}`)])),
  );
}

/** The path is shown, the contents are not. */
async function readPem(name: string, path: string): Promise<string> {
  const what = `read the file ${JSON.stringify(path)} that "${name}" of the URL names`;
  let text: string;
  try {
    const { readFile } = await import("node:fs/promises");
    text = await readFile(path, "utf8");
  } catch (cause) {
    const said = (cause as { code?: string }).code ?? (cause as Error).message;
    throw refused(what, said, { retryable: false }, cause);
  }
  if (text.includes("-----BEGIN ")) return text;
  throw refused(what, 'it has no "-----BEGIN" in it', { retryable: false, hint: "a PEM file is expected" });
}
