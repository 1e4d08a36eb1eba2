import type { LossReason } from "./backend.ts";
import type { Json } from "./options.ts";
import { plainFields, showAs } from "./plain.ts";

/** Something happened to a lock. */
export class LockEvent extends Event {
  /** The key; the first one of a lock over several. */
  readonly key: string;

  /** For the subclasses. */
  constructor(type: string, key: string) {
    super(type);
    this.key = key;
  }

  /** For `JSON.stringify`: its type and fields, the token as a string, an error by name, code and message. */
  toJSON(): Json {
    return plainFields(Object.entries(fields(this)));
  }
}

/** Without what the platforms add to every event, some of them under symbols. */
function fields(event: LockEvent): object {
  const own = Object.entries(event).filter(([name]) => name !== "type" && name !== "isTrusted");
  return { type: event.type, ...Object.fromEntries(own) };
}

showAs(LockEvent.prototype, fields);

/** "waiting": somebody else holds the lock, and the acquisition has taken its place in the queue. */
export class WaitingEvent extends LockEvent {
  /** For `switch`. */
  declare readonly type: "waiting";

  /** For one acquisition. */
  constructor(key: string) {
    super("waiting", key);
  }
}

/** "acquired". */
export class AcquiredEvent extends LockEvent {
  /** For `switch`. */
  declare readonly type: "acquired";
  /** Fencing token. */
  readonly token: bigint;
  /** Milliseconds from the call to the grant. */
  readonly waited: number;

  /** For one grant. */
  constructor(key: string, token: bigint, waited: number) {
    super("acquired", key);
    this.token = token;
    this.waited = waited;
  }
}

/** "renewed": the store has acknowledged that the lock is still ours. */
export class RenewedEvent extends LockEvent {
  /** For `switch`. */
  declare readonly type: "renewed";
  /** Fencing token. */
  readonly token: bigint;

  /** For one renewal. */
  constructor(key: string, token: bigint) {
    super("renewed", key);
    this.token = token;
  }
}

/** "released": given up by its holder, confirmed by the store. */
export class ReleasedEvent extends LockEvent {
  /** For `switch`. */
  declare readonly type: "released";
  /** Fencing token. */
  readonly token: bigint;
  /** Milliseconds from the grant to the release. */
  readonly lasted: number;

  /** For one release. */
  constructor(key: string, token: bigint, lasted: number) {
    super("released", key);
    this.token = token;
    this.lasted = lasted;
  }
}

/** "lost": the lock can no longer be proven held. */
export class LostEvent extends LockEvent {
  /** For `switch`. */
  declare readonly type: "lost";
  /** Fencing token. */
  readonly token: bigint;
  /** Why. */
  readonly reason: LossReason;

  /** For one loss. */
  constructor(key: string, token: bigint, reason: LossReason) {
    super("lost", key);
    this.token = token;
    this.reason = reason;
  }
}

/** "error": a call to the store failed. What it means for a lock, its other events say. */
export class LockErrorEvent extends LockEvent {
  /** For `switch`. */
  declare readonly type: "error";
  /** What went wrong. */
  readonly error: unknown;
  /** Fencing token, where the lock was held. */
  readonly token: bigint | undefined;

  /** For one failure. */
  constructor(key: string, error: unknown, token?: bigint) {
    super("error", key);
    this.error = error;
    this.token = token;
  }
}

/** "locked": somebody, anybody, has been granted the watched key. */
export class LockedEvent extends LockEvent {
  /** For `switch`. */
  declare readonly type: "locked";
  /** Fencing token of the grant. */
  readonly token: bigint;
  /** What the holder says about itself. */
  readonly metadata: Json | undefined;

  /** For one grant. */
  constructor(key: string, token: bigint, metadata: Json | undefined) {
    super("locked", key);
    this.token = token;
    this.metadata = metadata;
  }
}

/** "unlocked": a hold of the watched key has ended, by release, expiry, revocation or steal. */
export class UnlockedEvent extends LockEvent {
  /** For `switch`. */
  declare readonly type: "unlocked";

  /** For one end. */
  constructor(key: string) {
    super("unlocked", key);
  }
}

/** What a `Lock` emits. */
export interface LockEvents {
  /** The store has acknowledged that the lock is still ours. */
  renewed: RenewedEvent;
  /** Given up by its holder. */
  released: ReleasedEvent;
  /** No longer proven held. */
  lost: LostEvent;
  /** A call to the store failed. */
  error: LockErrorEvent;
}

/** What a `LockManager` emits, for all its locks. */
export interface ManagerEvents extends LockEvents {
  /** An acquisition has to wait. */
  waiting: WaitingEvent;
  /** An acquisition was granted. */
  acquired: AcquiredEvent;
}

/** What a watch emits. */
export interface WatchEvents {
  /** A grant, whoever the holder is. */
  locked: LockedEvent;
  /** The end of a hold, whoever the holder was. */
  unlocked: UnlockedEvent;
  /** The store is away; the watch goes on as soon as it is back. */
  error: LockErrorEvent;
}

/** As the platform's `AddEventListenerOptions`, which not every set of types has. */
export interface ListenerOptions {
  /** Without meaning here: nothing is above a lock. */
  readonly capture?: boolean;
  /** It is heard once. */
  readonly once?: boolean;
  /** Without meaning here: nothing can be prevented. */
  readonly passive?: boolean;
  /** It is removed when this aborts. */
  readonly signal?: AbortSignal;
}

/** A listener, as a function or an object. */
export type Listener<E extends Event> = ((event: E) => unknown) | { handleEvent(event: E): unknown };

type PlatformListener = Parameters<EventTarget["addEventListener"]>[1];

/**
 * An `EventTarget` that knows its events' types, and whether anybody has ever listened to one: an
 * event nobody asked for is not even made.
 */
export class TypedEventTarget<Events extends object> extends EventTarget {
  #heard: Set<string> | undefined;

  /** As the platform's. */
  override addEventListener<T extends keyof Events & string>(
    type: T,
    listener: Listener<Events[T] & Event> | null,
    options?: boolean | ListenerOptions,
  ): void {
    (this.#heard ??= new Set()).add(type);
    super.addEventListener(type, listener as PlatformListener, options);
  }

  /** As the platform's. */
  override removeEventListener<T extends keyof Events & string>(
    type: T,
    listener: Listener<Events[T] & Event> | null,
    options?: boolean | Pick<ListenerOptions, "capture">,
  ): void {
    super.removeEventListener(type, listener as PlatformListener, options);
  }

  /** Dispatches what `make` makes, if anybody ever listened to `type`. A listener's fault stays its own. */
  protected emit<T extends keyof Events & string>(type: T, make: () => Events[T] & Event): void {
    if (this.#heard?.has(type)) this.dispatchEvent(make());
  }
}
