package peers;

/** A library's client. */
interface Peer {
  /** Waits for a lock, for this thread, which has to release it as well. */
  Release acquire(String key) throws Exception;

  void close();

  /** Gives it back. */
  interface Release {
    void run() throws Exception;
  }
}
