import type { Scheme } from "../shared/scheme.ts";
import { credentialsOf, hostsOf, pathOf } from "../shared/url.ts";
import { settingsOf, type ZooKeeperOptions } from "./address.ts";
import { zookeeperTraits } from "./traits.ts";

/** `zookeeper://user:password@host1:2181,host2:2181/chroot`. */
export const zookeeperScheme: Scheme = {
  names: ["zookeeper"],
  title: "ZooKeeper, by some of its servers",
  example: "zookeeper://user:password@host1:2181,host2:2181/chroot?tickTime=2000",
  settings: {
    tickTime: { kind: "number", says: "milliseconds: the servers' own, or more", otherwise: "2000" },
  },
  read(url) {
    const options: ZooKeeperOptions = {
      address: hostsOf(url, 2181).join(),
      chroot: pathOf(url),
      ...credentialsOf(url),
      ...url.settings,
    };
    return {
      name: "zookeeper",
      traits: zookeeperTraits(settingsOf(options).tickTime),
      given: [options],
      load: async () => (await import("../zookeeper.ts")).zookeeper(options),
      async *examine(checkup) {
        yield* (await import("./doctor.ts")).examine(options, checkup);
      },
    };
  },
};
