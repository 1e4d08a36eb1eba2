package peers;

import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.redisson.api.RedissonClient;

/**
 * A process that is measured, with a lock for Java: does what it is told, see harness/protocol.ts, and ends
 * with its standard input.
 *
 * <p>{@code redisson-lock|redisson-fair|redisson-fenced|curator ADDRESS TTL}
 */
final class Main {
  private Main() {}

  public static void main(String[] args) throws Exception {
    Peer peer = open(args[0], args[1], Integer.parseInt(args[2]));
    Worker worker = new Worker(peer);
    Answers.done(0, null);
    Gson json = new Gson();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      Order order = json.fromJson(line, Order.class);
      try {
        worker.follow(order);
      } catch (IllegalArgumentException unfit) {
        Answers.failed(order.id(), unfit);
      }
    }
    Thread closing = new Thread(peer::close);
    closing.start();
    closing.join(1_000);
    Runtime.getRuntime().halt(0);
  }

  private static Peer open(String name, String address, int ttl) throws InterruptedException {
    return switch (name) {
      case "redisson-lock" -> RedissonPeer.open(address, ttl, RedissonClient::getLock);
      case "redisson-fair" -> RedissonPeer.open(address, ttl, RedissonClient::getFairLock);
      case "redisson-fenced" -> RedissonPeer.open(address, ttl, RedissonClient::getFencedLock);
      case "curator" -> CuratorPeer.open(address, ttl);
      default -> throw new IllegalArgumentException("no peer " + name);
    };
  }
}
