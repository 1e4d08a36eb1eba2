import { unlinkSync } from "../client/builtin.ts";
import { fault, isBusy, refusal, Unsettled } from "../client/errors.ts";
import { DatabaseFile, databaseOf, type Format } from "../client/file.ts";
import { inode } from "../client/inode.ts";
import { makeFolder } from "../client/sharing.ts";
import { Life } from "./life.ts";

/**
 * An open lock file, and the session that has it open.
 *
 * Who opens the file after a part of it was removed under others finds a free lock that is held, and gives out
 * its token again. So each session says in the folder of sessions which three files it has open, and until when
 * it may hold something; and who opens other ones waits for that.
 */
export class LockFile extends DatabaseFile {
  /** The folder of sessions, see `life.ts`: beside what symbolic links lead to. */
  readonly sessions: string;
  /** The session that has the file open. */
  readonly life: Life;

  /** Opens the file, and makes it if there is none. Throws if others may hold locks in what was under that path. */
  constructor(path: string, format: Format) {
    super(path, format);
    this.sessions = `${this.path}-peers`;
    let life: Life | undefined;
    try {
      life = this.#begin();
      this.life = life;
      this.#meetOthers();
    } catch (error) {
      life?.end();
      super.close();
      throw error;
    }
  }

  /**
   * Ends the session, too. What it holds is to be given up before; `abandoned`: without that it was removed from
   * the file, so that others need the proof that they have no owner.
   */
  override close({ abandoned = this.replaced }: { readonly abandoned?: boolean } = {}): void {
    // Who leaves alone takes `-wal` and `-shm` along: a newcomer must not take it for one who has lost them. But
    // one who has is waited for until the end.
    if (!abandoned) this.life.end();
    super.close();
    if (abandoned) this.life.end({ leaveProof: true });
  }

  #begin(): Life {
    try {
      if (inode(this.sessions) === undefined) makeFolder(this.sessions);
      return new Life(this.sessions, this.files, this.sharing);
    } catch (error) {
      throw isBusy(error) ? error : fault(this.name, error, this.sessions);
    }
  }

  /**
   * Throws if a session may hold locks in files that are no longer those under this path. One that holds none
   * any more, but has this very database open with another `-wal`, would spoil it at its end: for that the lock
   * file begins anew.
   */
  #meetOthers(): void {
    const database = databaseOf(this.files);
    let spoilt = false;
    for (const other of this.life.others()) {
      if (other.files === this.files) continue;
      const holds = other.until > Date.now();
      if (!holds && databaseOf(other.files) !== database) continue;
      const isOver = this.life.isOver(other);
      if (holds && isOver !== true) {
        const what = "it, its -wal or its -shm was removed or replaced while another process had it open";
        const advice = "That process may still hold locks: this one goes on when they have ended";
        throw refusal(this.name, `${what}. ${advice}`, { retryable: true });
      }
      if (isOver === false) spoilt = true;
    }
    if (!spoilt && !this.replaced) return;
    if (spoilt && databaseOf(this.filesNow) === database) {
      for (const end of ["", "-wal", "-shm"]) removeFile(this.path + end);
    }
    throw new Unsettled(`${this.path} was replaced while it was being opened`);
  }
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another process has removed it.
  }
}
