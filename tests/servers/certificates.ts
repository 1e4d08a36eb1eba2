/** A certificate authority of the tests' own, and certificates for 127.0.0.1 signed by it. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { binary } from "./install.ts";
import { run } from "./process.ts";

/** Paths of PEM files. The certificate serves servers and clients alike. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Makes them in the folder, for other names if some are given: `DNS:localhost`. */
export async function certificates(
  folder: string,
  names = "IP:127.0.0.1,DNS:localhost",
): Promise<Certificates> {
  const openssl = await binary("openssl");
  const path = (name: string) => join(folder, name);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  writeFileSync(
    path("extensions"),
    `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`,
  );
  await run(openssl, [
    ...["req", "-x509", ...newKey, "-days", "2", "-subj", "/CN=Holdfast tests"],
    ...["-keyout", path("ca.key"), "-out", path("ca.pem")],
  ]);
  await run(openssl, [
    ...["req", ...newKey, "-subj", "/CN=localhost", "-keyout", path("key.pem"), "-out", path("request.pem")],
  ]);
  await run(openssl, [
    ...["x509", "-req", "-days", "2", "-in", path("request.pem"), "-out", path("cert.pem")],
    ...["-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial", "-extfile", path("extensions")],
  ]);
  return { ca: path("ca.pem"), cert: path("cert.pem"), key: path("key.pem") };
}
