import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryOneTime;

/** Does with Curator what it is told, a line at a time: "acquire PATH MILLISECONDS", "release PATH". */
public class CuratorPeer {
  public static void main(String[] arguments) throws Exception {
    CuratorFramework client = CuratorFrameworkFactory.newClient(arguments[0], 8_000, 8_000, new RetryOneTime(100));
    client.start();
    client.blockUntilConnected();
    Map<String, InterProcessMutex> held = new HashMap<>();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    System.out.println("ready");
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      String path = words[1];
      if (words[0].equals("acquire")) {
        InterProcessMutex mutex = new InterProcessMutex(client, path);
        boolean acquired = mutex.acquire(Long.parseLong(words[2]), TimeUnit.MILLISECONDS);
        if (acquired) held.put(path, mutex);
        System.out.println(acquired ? "acquired" : "timeout");
      } else {
        held.remove(path).release();
        System.out.println("released");
      }
    }
    client.close();
  }
}
