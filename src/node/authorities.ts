import { readFileSync } from "node:fs"
import * as tls from "node:tls"

/** The option of a TLS connection that trusts the usual authorities and these. */
export const trusting = (
  certificates: ReadonlyArray<string> | undefined
): { readonly secureContext?: tls.SecureContext } =>
  certificates === undefined
    ? {}
    : { secureContext: tls.createSecureContext({ ca: [...usualCertificates(), ...certificates] }) }

/** What Node.js trusts by itself. Given a list, it trusts nothing else: not even NODE_EXTRA_CA_CERTS. */
const usualCertificates = (): ReadonlyArray<string> => {
  const file = process.env["NODE_EXTRA_CA_CERTS"] ?? ""
  if (file === "") return tls.rootCertificates
  try {
    return [...tls.rootCertificates, readFileSync(file, "utf8")]
  } catch {
    return tls.rootCertificates // Node.js has warned about it and goes on, too
  }
}
