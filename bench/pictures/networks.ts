/** The two distances of a store. */
export const NETWORKS = ["loopback", "1 ms"] as const;

/** What stands over a half of a picture. */
export function networkName(network: string): string {
  return network === "loopback" ? "same machine" : "network of 1 ms";
}
