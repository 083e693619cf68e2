import { nonsense } from '../../errors.ts'
import type { Milliseconds, Seconds } from '../../time.ts'
import type { Entry } from '../entry.ts'
import type { Commands } from '../redis/commands.ts'
import { fromWords, isId, isLater, secondOf, START } from '../redis/log.ts'
import {
  HEARD_AT_ONCE, heardLines, LogReader, type LogContext, type LogOptions, type Page
} from './log-reader.ts'
import type { RedisTime } from './redis-time.ts'

export interface FollowerOptions extends LogOptions {
  /** How long one answer may wait for an entry. */
  block: Milliseconds
  /** How long an entry of the log matters; null: for ever. Redis may trim older entries. */
  span: Seconds | null
}

export interface FollowerContext extends LogContext {
  /** Hears what the clock of Redis says. */
  time: RedisTime
  /** Gets what was read. `news`: the log had been read to its end before. */
  onEntries: (entries: Entry[], news: boolean) => void
  /** Called when the log does not go on where it was left, before it is read from its start. */
  onBroken: () => Promise<void>
  /**
   * Called when the log has been read to its end. `complete`: nothing that still matters is missing from it.
   */
  onRead: (complete: boolean) => Promise<void>
  /** Called once for each read that failed. */
  onFailed: (error: unknown) => void
}

const PAGE = 1000
/** A new process has compiled no code yet, and takes many times as long for an entry. */
const FIRST_PAGE = 200
const MAX_PAUSE: Milliseconds = 1000
/**
 * After news, before asking for more. All processes of a machine wake for the same entry: it takes effect in
 * the last of them sooner if none of them asks again at once. What comes meanwhile comes in one answer.
 */
const BREATH: Milliseconds = 1
/** A busy event loop makes a breath so long that there is nothing left to gain: then none for this time. */
const BUSY: Milliseconds = 100

interface Read {
  sentAt: Milliseconds
  /** How many entries the read asks for. */
  count: number
  answer: Promise<Page>
}

/**
 * `reading`: on the way to the end of the log. `following`: at its end, where it waits for more.
 * `broken`: the log does not go on where it was left, and must be read from its start.
 */
type Phase = 'reading' | 'following' | 'broken'

/**
 * Reads the log from its start and follows it as it grows, over a connection of its own. Each entry names its
 * predecessor, and each page gives the last id of the log. So the follower notices missing entries, whatever
 * took them: a flush, a failover that lost writes, or a trim.
 */
export class Follower {
  /**
   * When the follower asked for the last page that reached the end of the log, by the monotonic clock. This
   * process knows every revocation from before that moment.
   */
  heardAt: Milliseconds | undefined
  /** When the follower asked for the last page that was answered, whether it reached the end or not. */
  progressAt: Milliseconds | undefined
  readonly #log: LogReader
  readonly #block: Milliseconds
  readonly #span: Seconds | null
  readonly #context: FollowerContext
  #last = START
  #run = ''
  #next: Read | undefined
  readonly #gaps = new Set<string>()
  /** Whether the current reading has found no hole so far. */
  #complete = true
  #phase: Phase = 'reading'
  /** The last wait for news failed. A page would hide that. */
  #isDeaf = false
  #busyUntil: Milliseconds = 0
  #closed = false

  constructor (redis: Commands, options: FollowerOptions, context: FollowerContext) {
    this.#log = new LogReader(redis, options, context)
    this.#block = options.block
    this.#span = options.span
    this.#context = context
  }

  async run () {
    let failures = 0
    while (!this.#closed) {
      try {
        await this.#step()
        failures = 0
      } catch (error) {
        if (this.#closed) return
        this.#next = undefined
        this.#context.onFailed(error)
        await this.#context.clock.sleep(Math.min(50 * 2 ** failures++, MAX_PAUSE), { ref: false })
      }
    }
  }

  close () {
    this.#closed = true
  }

  get #isFollowing (): boolean {
    return this.#phase === 'following'
  }

  async #step () {
    if (this.#phase === 'broken') {
      await this.#context.onBroken()
      this.#phase = 'reading'
      this.#next = undefined
      this.#complete = true
      this.#last = START
    }
    if (this.#isFollowing) await this.#follow()
    if (this.#closed) return
    const { sentAt, count, answer } = this.#next ?? this.#read(this.#last)
    this.#next = undefined
    const { last, lines, time, run } = await answer
    if (this.#closed) return
    this.#context.time.hear(time, sentAt)
    // Another server may lack entries that the last server had and this process never read.
    if (run !== this.#run) this.#phase = 'reading'
    this.#run = run
    // Redis reads the next page while this process takes this one in.
    const isFull = lines.length === 2 * count
    if (isFull && !this.#isFollowing) this.#next = this.#read(lines[lines.length - 2]!)
    if (!this.#take(lines)) {
      this.#phase = 'broken'
      return
    }
    if (isFull) {
      this.progressAt = sentAt
      return
    }
    if (last !== this.#last) {
      // The log has lost its end, or everything.
      if (this.#isFollowing || !isLater(last, this.#last)) {
        this.#phase = 'broken'
        return
      }
      this.#complete = false
      this.#last = last
    }
    if (!this.#isFollowing) {
      // Without a log there may still be keys: the log was deleted, or never written.
      await this.#context.onRead(this.#complete && last !== START)
      this.#phase = 'following'
      this.#gaps.clear()
    }
    this.progressAt = this.heardAt = sentAt
  }

  /**
   * Takes in what is added to the log, until it is time for a page, or until what comes does not go on where
   * the log was left. A page costs Redis several times as much as such an answer, and if each process asked
   * for one, they would keep each other waiting. But where much comes at once, pages bring it sooner.
   */
  async #follow () {
    for (;;) {
      const left = Math.floor(this.heardAt! + this.#block - this.#context.clock.monotonic())
      if (left <= 0 && !this.#isDeaf) return
      this.#isDeaf = true
      const lines = heardLines(await this.#log.wait(this.#last, Math.max(left, 1)))
      this.#isDeaf = false
      if (this.#closed || lines.length === 0 || !this.#take(lines)) return
      if (lines.length >= 2 * HEARD_AT_ONCE) return
      await this.#breathe()
      if (this.#closed) return
    }
  }

  async #breathe () {
    const { clock } = this.#context
    const started = clock.monotonic()
    if (started < this.#busyUntil) return
    await new Promise<void>((resolve) => { clock.after(resolve, BREATH) })
    const ended = clock.monotonic()
    if (ended - started > 5 * BREATH) this.#busyUntil = ended + BUSY
  }

  #read (after: string): Read {
    const count = after === START ? FIRST_PAGE : PAGE
    // Before it leaves: whatever pauses the process afterwards makes the answer older than it looks.
    const sentAt = this.#context.clock.monotonic()
    const answer = this.#log.page(after, count)
    // A page that was read ahead may never be awaited.
    answer.catch(() => {})
    return { sentAt, count, answer }
  }

  /** Takes entries in. Gives false where entries are missing before or between them. */
  #take (lines: string[]): boolean {
    const entries: Entry[] = []
    const isNews = this.heardAt !== undefined
    try {
      for (let i = 0; i < lines.length; i += 2) {
        const id = lines[i]!
        const words = lines[i + 1]
        if (!isId(id) || words === undefined) throw nonsense('about the log')
        const read = fromWords(words, isNews)
        if (read?.prev !== this.#last && !this.#isAccounted(id, read?.prev)) return false
        if (read?.entry) entries.push(read.entry)
        this.#last = id
      }
      return true
    } finally {
      // Also what came before nonsense: the next read begins after it.
      this.#context.onEntries(entries, isNews)
    }
  }

  /**
   * Whether a gap before an entry is no reason to read the log anew. `prev` is undefined where the entry does
   * not tell its predecessor. A gap in the first reading may be a loss that has just happened, and took what
   * was read before it, too. A gap that a second reading finds again is a hole, and the keys tell what is
   * missing.
   */
  #isAccounted (id: string, prev: string | undefined): boolean {
    if (this.#isFollowing) return false
    if (isId(prev) && this.#isPast(prev)) return true
    this.#complete = false
    if (prev === undefined || this.#last === START || this.#gaps.has(id)) return true
    this.#gaps.add(id)
    return false
  }

  /** Whether the log may begin after this entry: there was none before, or it is too old to matter. */
  #isPast (id: string): boolean {
    if (this.#last !== START) return false
    const span = this.#span
    return id === START || (span !== null && secondOf(id) < this.#context.time.earliest / 1000 - span)
  }
}
