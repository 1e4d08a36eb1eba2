package peers;

import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.ExponentialBackoffRetry;

/** Curator's {@code InterProcessMutex}, for as long as its session lives. */
record CuratorPeer(CuratorFramework client) implements Peer {
  static CuratorPeer open(String address, int ttl) throws InterruptedException {
    CuratorFramework client =
        CuratorFrameworkFactory.newClient(address, ttl, 5_000, new ExponentialBackoffRetry(1_000, 3));
    client.start();
    client.blockUntilConnected();
    return new CuratorPeer(client);
  }

  @Override
  public Release acquire(String key) throws Exception {
    InterProcessMutex mutex = new InterProcessMutex(client, "/locks/" + key);
    mutex.acquire();
    return mutex::release;
  }

  @Override
  public void close() {
    client.close();
  }
}
