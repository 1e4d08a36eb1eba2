/**
 * Checks that no server is named twice, whose vote would count twice: two such of three nodes are a majority of one
 * server. Aliases of one server cannot be told; `holdfast doctor` asks the servers.
 *
 * @param places Each `host:port`
 * @throws {TypeError}
 */
export function checkApart(places: readonly string[]): void {
  const names = places.map((place) => place.toLowerCase());
  const twice = places.find((_, at) => names.indexOf(names[at]!) < at);
  if (twice === undefined) return;
  throw new TypeError(
    `Cannot use ${twice} as two Redlock nodes: a majority counts only among servers that fail by themselves, ` +
      "best three or five",
  );
}
