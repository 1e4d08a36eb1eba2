package peers;

import java.util.function.BiFunction;
import org.redisson.Redisson;
import org.redisson.api.RFencedLock;
import org.redisson.api.RLock;
import org.redisson.api.RedissonClient;
import org.redisson.config.Config;

/** One of Redisson's locks, which its watchdog renews. */
record RedissonPeer(RedissonClient client, BiFunction<RedissonClient, String, RLock> locks) implements Peer {
  static RedissonPeer open(String address, long ttl, BiFunction<RedissonClient, String, RLock> locks) {
    Config config = new Config().setLockWatchdogTimeout(ttl);
    // A fair lock has a subscription for each that waits, and fails beyond 250 by default.
    config.useSingleServer().setAddress(address).setSubscriptionsPerConnection(50);
    return new RedissonPeer(Redisson.create(config), locks);
  }

  @Override
  public Release acquire(String key) {
    RLock lock = locks.apply(client, key);
    if (lock instanceof RFencedLock fenced) fenced.lockAndGetToken();
    else lock.lock();
    return lock::unlock;
  }

  @Override
  public void close() {
    client.shutdown();
  }
}
