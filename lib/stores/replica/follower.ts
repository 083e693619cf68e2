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
  /** How long one read waits for something to come. */
  block: Milliseconds
  storeTimeout: Milliseconds
  /** How long an entry matters; null: for ever. Older ones may be trimmed. */
  span: Seconds | null
}

export interface FollowerContext {
  clock: Clock
  /** Is told what Redis' clock says. */
  time: RedisTime
  /** What was read; `news` where the log had been read to its end once before. */
  onEntries: (entries: Entry[], news: boolean) => void
  /** The log does not go on where it was left: it is about to be read from its start. */
  onBroken: () => Promise<void>
  /** It has been read to its end. Not `complete`: something that may still matter is missing from it. */
  onRead: (complete: boolean) => Promise<void>
  /** Once for each read that failed. */
  onFailed: (error: unknown) => void
  /** Leaves a connection that gives no answer. */
  renew: () => void
}

const PAGE = 1000
/** A process that has just begun has compiled nothing yet, and takes many times as long for an entry. */
const FIRST_PAGE = 200
const MAX_PAUSE: Milliseconds = 1000

interface Page {
  last: string
  /** An id, its words, the next id. */
  lines: string[]
  /** What the clock of Redis was then. */
  time: Milliseconds
  /** Of a cluster: which run of which server it was that answered. */
  run: string
  /** How long Redis waited at least before it looked. */
  waited: Milliseconds
}

interface Read {
  sentAt: Milliseconds
  /** How many entries are read at most. */
  count: number
  answer: Promise<Page>
}

/**
 * `reading`: towards the end of the log. `following`: its end has been reached, and each read waits for more. `broken`:
 * the log does not go on where it was left, and is to be read from its start.
 */
type Phase = 'reading' | 'following' | 'broken'

/**
 * Reads the log from its start and goes on as it grows, over a connection that nobody else uses. Each entry tells the
 * one before it, and each read that finds none tells the last id of the log: so it is noticed when entries are missing,
 * whatever took them (a flush, a failover that lost writes, somebody who trimmed it).
 */
export class Follower {
  /** When the last read that was answered, and found the end, was sent: what was revoked before it is known. Monotonic. */
  heardAt: Milliseconds | undefined
  /** The same, of a read that may not have come to the end. */
  progressAt: Milliseconds | undefined
  readonly #redis: Commands
  readonly #options: FollowerOptions
  readonly #context: FollowerContext
  #last = START
  #run = ''
  #next: Read | undefined
  readonly #gaps = new Set<string>()
  #isLate = false
  /** Of what the reading has found so far. */
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
    // Entries that the last one had, and that never came here, it may not have.
    if (run !== this.#run) this.#phase = 'reading'
    this.#run = run
    // Redis gathers the next page while this one is taken in.
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
      // The end of the log is gone, or all of it.
      if (this.#isFollowing || !isLater(last, this.#last)) {
        this.#phase = 'broken'
        return
      }
      this.#complete = false
      this.#last = last
    }
    if (!this.#isFollowing) {
      // No log at all, where there may be keys: it was deleted, or never there.
      await this.#context.onRead(this.#complete && last !== START)
      this.#phase = 'following'
      this.#gaps.clear()
    }
    this.progressAt = this.heardAt = sentAt + waited
    // What was read is old when it is read late, after a pause of the process: the next read does not wait.
    this.#isLate = this.#context.clock.monotonic() - this.heardAt > 2 * this.#options.block
  }

  #read (after: string): Read {
    const count = after === START ? FIRST_PAGE : PAGE
    const answer = this.#page(after, count)
    // Of one that was read ahead nobody may want to know any more.
    answer.catch(() => {})
    return { sentAt: this.#context.clock.monotonic(), count, answer }
  }

  /** The last id of the log, and what came after an entry: as they were at one moment. */
  async #page (after: string, count: number): Promise<Page> {
    const { key, block, storeTimeout } = this.#options
    const waits = this.#isFollowing && !this.#isLate
    const wait: Command[] = waits ? [['xread', 'COUNT', 1, 'BLOCK', block, 'STREAMS', key, after]] : []
    const page: Command = ['eval', LOG_PAGE, 1, key, after, count, this.#isFollowing ? 0 : 1, this.#redis.isApart ? 1 : 0]
    const deadline = new Deadline(storeTimeout + (waits ? block : 0), () => this.#redis.whyNoAnswer())
    const answers = await deadline.run(() => this.#redis.together([...wait, page])).catch((error) => {
      if (error instanceof NoAnswer) this.#context.renew()
      throw error
    })
    const [last, lines, time, run] = Array.isArray(answers.at(-1)) ? answers.at(-1) as unknown[] : []
    if (!isId(last) || typeof lines !== 'string' || !(Number(time) > 0) || typeof run !== 'string') throw nonsense('about the log')
    // Where nothing came, Redis looked no earlier than it stopped waiting.
    return { last, lines: lines === '' ? [] : lines.split('\n'), time: Number(time), run, waited: waits && answers[0] === null ? block : 0 }
  }

  /** Gives false where entries are missing between those that were read before and these. */
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
   * Whether it is known why an entry does not follow the one before it (`prev` is undefined where it does not tell). A
   * gap in the first reading may be a loss that has just happened, so that what was read before it is gone as well: only
   * one that is there again when the log is read anew is a hole, and the keys are read for what is missing.
   */
  #isAccounted (id: string, prev: string | undefined): boolean {
    if (this.#isFollowing) return false
    if (isId(prev) && this.#isPast(prev)) return true
    this.#complete = false
    if (prev === undefined || this.#last === START || this.#gaps.has(id)) return true
    this.#gaps.add(id)
    return false
  }

  /** Whether the log may begin after this entry: it is none, or too old to matter. */
  #isPast (id: string): boolean {
    const { span } = this.#options
    return this.#last === START && (id === START || (span !== null && secondOf(id) < this.#context.time.earliest / 1000 - span))
  }
}
