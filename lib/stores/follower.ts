import { setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds, Seconds } from '../expiry.ts'
import type { Commands } from './commands.ts'
import { Deadline } from './deadline.ts'
import { fromWords, isLater, secondOf, START, type LogEntry } from './log.ts'
import { LAST_ID } from './scripts.ts'

export interface FollowerOptions {
  key: string
  /** How long one read waits for something to come. */
  block: Milliseconds
  storeTimeout: Milliseconds
  /** How long an entry matters; null: for ever. Older ones may be trimmed. */
  span: Seconds | null
}

export interface FollowerContext {
  clock: () => Milliseconds
  /** What was read; `news` where the log had been read to its end once before. */
  onEntries: (entries: LogEntry[], news: boolean) => void
  /** The log does not go on where it was left: it is about to be read from its start. */
  onBroken: () => Promise<void>
  /** It has been read to its end. Not `complete`: something that may still matter is missing from it. */
  onRead: (complete: boolean) => Promise<void>
  /** Once for each read that failed. */
  onFailed: (error: unknown) => void
  /** Leaves a connection that gives no answer. */
  reconnect: () => void
}

const PAGE = 1000
const MAX_PAUSE: Milliseconds = 1000

type Row = [id: string, fields: string[]]

/**
 * Reads the log from its start and goes on as it grows, over a connection that nobody else uses. Each entry tells the
 * one before it, and each read begins with the last id of the log: so it is noticed when entries are missing, whatever
 * took them (a flush, a failover that lost writes, somebody who trimmed it).
 */
export class Follower {
  /** When the last read that was answered, and found the end, was sent: what was revoked before it is known. Monotonic. */
  heardAt: Milliseconds | undefined
  readonly #redis: Commands
  readonly #options: FollowerOptions
  readonly #context: FollowerContext
  #last = START
  #broken = false
  #complete = true
  #following = false
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
        this.#context.onFailed(error)
        await sleep(Math.min(50 * 2 ** failures++, MAX_PAUSE), undefined, { ref: false })
      }
    }
  }

  close () {
    this.#closed = true
  }

  async #step () {
    if (this.#broken) {
      await this.#context.onBroken()
      this.#broken = false
      this.#complete = true
      this.#last = START
    }
    const sentAt = performance.now()
    const [last, rows] = await this.#read()
    if (this.#closed) return
    if (rows.length > 0) {
      if (!this.#take(rows)) return this.#break()
      // There may be more.
      if (rows.length === PAGE) return
    } else if (last !== this.#last) {
      // The last id was asked for before: an entry that came in between would have been read.
      if (this.#following || !isLater(last, this.#last)) return this.#break()
      this.#complete = false
      this.#last = last
    }
    if (!this.#following) {
      await this.#context.onRead(this.#complete)
      this.#following = true
    }
    this.heardAt = sentAt
  }

  #break () {
    this.#broken = true
    this.#following = false
  }

  async #read (): Promise<[last: string, rows: Row[]]> {
    const { key, block, storeTimeout } = this.#options
    const waiting = this.#following ? ['BLOCK', block] : []
    const [last, reply] = await new Promise<unknown[]>((resolve, reject) => {
      const cancel = new Deadline(storeTimeout + (this.#following ? block : 0)).start((error) => {
        this.#context.reconnect()
        reject(error)
      })
      this.#redis.together([
        ['eval', LAST_ID, 1, key],
        ['xread', 'COUNT', PAGE, ...waiting, 'STREAMS', key, this.#last]
      ]).then(resolve, reject).finally(cancel)
    })
    if (typeof last !== 'string') throw new TypeError('Redis answered nonsense about the log')
    return [last, reply === null ? [] : rowsOf(reply)]
  }

  /** Gives false where entries are missing between those that were read before and these. */
  #take (rows: Row[]): boolean {
    const entries: LogEntry[] = []
    for (const [id, fields] of rows) {
      const read = fromWords(fields[1])
      if (read !== null) {
        if (read.prev !== this.#last) {
          if (this.#following) return false
          if (!this.#isPast(read.prev)) this.#complete = false
        }
        entries.push(read.entry)
      }
      this.#last = id
    }
    this.#context.onEntries(entries, this.heardAt !== undefined)
    return true
  }

  /** Whether the log may begin after this entry: it is none, or too old to matter. */
  #isPast (id: string): boolean {
    const { span } = this.#options
    return this.#last === START && (id === START || (span !== null && secondOf(id) < this.#context.clock() / 1000 - span))
  }
}

function rowsOf (reply: unknown): Row[] {
  const [stream] = Array.isArray(reply) ? reply : []
  const rows = Array.isArray(stream) ? stream[1] : undefined
  const isRow = (row: unknown) => Array.isArray(row) && typeof row[0] === 'string' && /^\d+-\d+$/.test(row[0]) && Array.isArray(row[1])
  if (!Array.isArray(rows) || !rows.every(isRow)) throw new TypeError('Redis answered nonsense about the log')
  return rows as Row[]
}
