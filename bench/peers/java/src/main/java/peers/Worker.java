package peers;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** Follows orders. A lock belongs to a thread, so the one that took it has to give it back. */
final class Worker {
  /** After this time who waits is taken to stand in line, since it does not tell; and more for each of many. */
  private static final long SETTLED_MICROS = 20_000;

  private static final long SETTLED_EACH_MICROS = 200;

  private static final long PID = ProcessHandle.current().pid();

  /** One of many that do the same. */
  private interface One {
    void run(int at) throws Exception;
  }

  /** What was taken, and the thread that it belongs to. */
  private record Taken(ExecutorService thread, Peer.Release release) {}

  private final Peer peer;
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
  private final AtomicInteger serial = new AtomicInteger();
  private final Map<String, Taken> taken = new ConcurrentHashMap<>();

  /** The thread that all of {@code held} belongs to. */
  private final ExecutorService keeper = Executors.newSingleThreadExecutor();

  private final List<Peer.Release> held = new ArrayList<>();

  Worker(Peer peer) {
    this.peer = peer;
  }

  /** Returns at once; answers when it is done. */
  void follow(Order order) {
    switch (order.verb()) {
      case "clock" -> in(threads, order, Answers::now);
      case "cycles" -> in(threads, order, () -> cycles(order.n(), order.key()));
      case "flight" -> in(threads, order, () -> flight(order.n(), order.many()));
      case "take" -> {
        ExecutorService thread = Executors.newSingleThreadExecutor();
        in(thread, order, () -> take(order, thread));
      }
      case "give" -> {
        Taken given = taken.remove(order.key());
        if (given == null) throw new IllegalArgumentException("not taken: " + order.key());
        in(given.thread(), order, () -> give(given));
      }
      case "crowd" -> in(threads, order, () -> crowd(order));
      case "hold" -> in(keeper, order, () -> hold(order.prefix(), order.many()));
      case "drop" -> in(keeper, order, this::drop);
      case "heap" -> in(threads, order, Worker::heap);
      default -> throw new IllegalArgumentException("no order " + order.verb());
    }
  }

  private static void in(ExecutorService thread, Order order, Callable<?> work) {
    thread.execute(() -> {
      try {
        Answers.done(order.id(), work.call());
      } catch (Throwable failure) {
        Answers.failed(order.id(), failure);
      }
    });
  }

  private double[] cycles(int n, String key) throws Exception {
    boolean fresh = key.endsWith("*");
    String prefix = key.substring(0, key.length() - 1) + PID + "-";
    double[] times = new double[n];
    for (int round = 0; round < n; round++) {
      String name = fresh ? prefix + serial.incrementAndGet() : key;
      double since = Answers.now();
      peer.acquire(name).run();
      times[round] = Answers.now() - since;
    }
    return times;
  }

  private double flight(int n, int many) throws Exception {
    AtomicInteger left = new AtomicInteger(n);
    double since = Answers.now();
    List<Future<?>> all = start(many, at -> {
      String key = "flight-" + PID + "-" + at;
      while (left.getAndDecrement() > 0) peer.acquire(key).run();
    });
    for (Future<?> one : all) one.get();
    return Answers.now() - since;
  }

  private double take(Order order, ExecutorService thread) throws Exception {
    Future<?> settling = settle(order, SETTLED_MICROS);
    Peer.Release release = peer.acquire(order.key());
    double at = Answers.now();
    settling.cancel(false);
    taken.put(order.key(), new Taken(thread, release));
    return at;
  }

  private static double[] give(Taken given) throws Exception {
    double from = Answers.now();
    given.release().run();
    double to = Answers.now();
    given.thread().shutdown();
    return new double[] {from, to};
  }

  private double[] crowd(Order order) throws Exception {
    int many = order.many();
    double[] times = new double[many];
    List<Future<?>> all = start(many, at -> {
      Peer.Release release = peer.acquire(order.key());
      times[at] = Answers.now();
      release.run();
    });
    Future<?> settling = settle(order, SETTLED_MICROS + many * SETTLED_EACH_MICROS);
    for (Future<?> one : all) one.get();
    settling.cancel(false);
    return times;
  }

  private Object hold(String prefix, int many) throws Exception {
    for (int at = 0; at < many; at++) held.add(peer.acquire(prefix + at));
    return null;
  }

  private Object drop() throws Exception {
    for (Peer.Release release : held) release.run();
    held.clear();
    return null;
  }

  private static long heap() {
    for (int time = 0; time < 3; time++) System.gc();
    Runtime memory = Runtime.getRuntime();
    return memory.totalMemory() - memory.freeMemory();
  }

  private Future<?> settle(Order order, long micros) {
    return timer.schedule(() -> Answers.waiting(order.id()), micros, TimeUnit.MICROSECONDS);
  }

  /** Each in a thread of its own. */
  private List<Future<?>> start(int many, One one) {
    List<Future<?>> all = new ArrayList<>();
    for (int n = 0; n < many; n++) {
      int at = n;
      all.add(threads.submit(() -> {
        one.run(at);
        return null;
      }));
    }
    return all;
  }
}
