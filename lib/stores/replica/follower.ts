import { NoAnswer, nonsense } from '../../errors.ts'
import type { Clock, Milliseconds, Seconds } from '../../time.ts'
import { Deadline } from '../deadline.ts'
import type { Entry } from '../entry.ts'
import type { Command, Commands } from '../redis/commands.ts'
import { fromWords, isId, isLater, secondOf, START } from '../redis/log.ts'
import { LOG_PAGE } from '../redis/scripts.ts'
import type { RedisTime } from './redis-time.ts'

export interface FollowerOptions {
  key: string
  /** How long one read waits for an entry. */
  block: Milliseconds
  storeTimeout: Milliseconds
  /** How long an entry of the log matters; null: for ever. Redis may trim older entries. */
  span: Seconds | null
}

export interface FollowerContext {
  clock: Clock
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
  /** Replaces a connection that gives no answer. */
  renew: () => void
}

const PAGE = 1000
/** A new process has compiled no code yet, and takes many times as long for an entry. */
const FIRST_PAGE = 200
const MAX_PAUSE: Milliseconds = 1000

interface Page {
  last: string
  /** An id, its words, the next id, and so on. */
  lines: string[]
  /** The clock of Redis when it looked. */
  time: Milliseconds
  /** On a cluster, the run of the server that answered. */
  run: string
  /** How long Redis waited at least before it looked. */
  waited: Milliseconds
}

interface Read {
  sentAt: Milliseconds
  /** How many entries the read asks for. */
  count: number
  answer: Promise<Page>
}

/**
 * `reading`: on the way to the end of the log. `following`: at its end, where each read waits for more.
 * `broken`: the log does not go on where it was left, and must be read from its start.
 */
type Phase = 'reading' | 'following' | 'broken'

/**
 * Reads the log from its start and follows it as it grows, over a connection of its own. Each entry names its
 * predecessor, and a read that finds no entry gives the last id of the log. So the follower notices missing
 * entries, whatever took them: a flush, a failover that lost writes, or a trim.
 */
export class Follower {
  /**
   * When the follower sent the last read that reached the end of the log, by the monotonic clock. This
   * process knows every revocation from before that moment.
   */
  heardAt: Milliseconds | undefined
  /** When the follower sent the last read that was answered, whether it reached the end or not. */
  progressAt: Milliseconds | undefined
  readonly #redis: Commands
  readonly #options: FollowerOptions
  readonly #context: FollowerContext
  #last = START
  #run = ''
  #next: Read | undefined
  readonly #gaps = new Set<string>()
  #isLate = false
  /** Whether the current reading has found no hole so far. */
  #complete = true
  #phase: Phase = 'reading'
  #closed = false

  constructor (redis: Commands, options: FollowerOptions, context: FollowerContext) {
    this.#redis = redis
    this.#options = options
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
    const { sentAt, count, answer } = this.#next ?? this.#read(this.#last)
    this.#next = undefined
    const { last, lines, time, run, waited } = await answer
    if (this.#closed) return
    this.#context.time.hear(time, sentAt + waited)
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
    this.progressAt = this.heardAt = sentAt + waited
    // After a pause of the process this answer is old. The next read does not wait, so that it brings a fresh
    // one.
    this.#isLate = this.#context.clock.monotonic() - this.heardAt > 2 * this.#options.block
  }

  #read (after: string): Read {
    const count = after === START ? FIRST_PAGE : PAGE
    const answer = this.#page(after, count)
    // A page that was read ahead may never be awaited.
    answer.catch(() => {})
    return { sentAt: this.#context.clock.monotonic(), count, answer }
  }

  /** Reads, at one moment, the last id of the log and the entries after `after`. */
  async #page (after: string, count: number): Promise<Page> {
    const { key, block, storeTimeout } = this.#options
    const waits = this.#isFollowing && !this.#isLate
    const wait: Command[] = waits ? [['xread', 'COUNT', 1, 'BLOCK', block, 'STREAMS', key, after]] : []
    const flags = [this.#isFollowing ? 0 : 1, this.#redis.isApart ? 1 : 0]
    const page: Command = ['eval', LOG_PAGE, 1, key, after, count, ...flags]
    const deadline = new Deadline({
      timeout: storeTimeout + (waits ? block : 0),
      clock: this.#context.clock,
      why: () => this.#redis.whyNoAnswer()
    })
    const answers = await deadline.run(() => this.#redis.together([...wait, page])).catch((error) => {
      if (error instanceof NoAnswer) this.#context.renew()
      throw error
    })
    const [last, lines, time, run] = Array.isArray(answers.at(-1)) ? answers.at(-1) as unknown[] : []
    if (!isId(last) || typeof lines !== 'string' || !(Number(time) > 0) || typeof run !== 'string') {
      throw nonsense('about the log')
    }
    // If nothing came, Redis looked only after it had waited.
    const waited = waits && answers[0] === null ? block : 0
    return { last, lines: lines === '' ? [] : lines.split('\n'), time: Number(time), run, waited }
  }

  /** Takes entries in. Gives false where entries are missing before or between them. */
  #take (lines: string[]): boolean {
    const entries: Entry[] = []
    const isNews = this.heardAt !== undefined
    let isWhole = true
    for (let i = 0; i < lines.length; i += 2) {
      const id = lines[i]!
      const words = lines[i + 1]
      if (!isId(id) || words === undefined) throw nonsense('about the log')
      const read = fromWords(words, isNews)
      if (read?.prev !== this.#last && !this.#isAccounted(id, read?.prev)) {
        isWhole = false
        break
      }
      if (read?.entry) entries.push(read.entry)
      this.#last = id
    }
    this.#context.onEntries(entries, isNews)
    return isWhole
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
    const { span } = this.#options
    return id === START || (span !== null && secondOf(id) < this.#context.time.earliest / 1000 - span)
  }
}
