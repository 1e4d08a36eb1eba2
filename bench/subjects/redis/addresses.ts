/** The addresses of single servers in that of one, or of several: `redlock://a:1,b:2,c:3`. */
export function addresses(address: string): string[] {
  return address.replace(/^\w+:\/\//, "").replace(/\?.*/, "").split(",").map((host) => `redis://${host}`);
}
