package peers;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;

/** What this process says on its standard output. */
final class Answers {
  private record Done(int id, Object done) {}

  private record Said(int id, String say, double at) {}

  private record Failed(int id, String failed) {}

  private static final Gson JSON = new GsonBuilder().serializeNulls().create();

  private Answers() {}

  /** Milliseconds, of a clock that is monotonic. */
  static double now() {
    return System.nanoTime() / 1e6;
  }

  static void done(int id, Object done) {
    write(new Done(id, done));
  }

  static void waiting(int id) {
    write(new Said(id, "waiting", now()));
  }

  static void failed(int id, Throwable failure) {
    write(new Failed(id, failure.toString()));
  }

  private static void write(Object answer) {
    System.out.print(JSON.toJson(answer) + "\n");
    System.out.flush();
  }
}
