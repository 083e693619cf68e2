import { NoAnswer, nonsense } from '../../errors.ts'
import type { Clock, Milliseconds } from '../../time.ts'
import { Deadline } from '../deadline.ts'
import type { Commands } from '../redis/commands.ts'
import { isId } from '../redis/log.ts'
import { LOG_PAGE } from '../redis/scripts.ts'

export interface LogOptions {
  key: string
  storeTimeout: Milliseconds
}

export interface LogContext {
  clock: Clock
  /** Replaces a connection that gives no answer. */
  renew: () => void
}

export interface Page {
  last: string
  /** An id, its words, the next id, and so on. */
  lines: string[]
  /** The clock of Redis when it looked. */
  time: Milliseconds
  /** On a cluster, the run of the server that answered. */
  run: string
}

/** How many entries one answer to a wait brings at most. */
export const HEARD_AT_ONCE = 100

/** Asks Redis about the log, over a connection on which waiting keeps nobody else waiting. */
export class LogReader {
  readonly #redis: Commands
  readonly #options: LogOptions
  readonly #context: LogContext

  constructor (redis: Commands, options: LogOptions, context: LogContext) {
    this.#redis = redis
    this.#options = options
    this.#context = context
  }

  /** Reads, at one moment, the last id of the log and the entries after `after`. */
  async page (after: string, count: number): Promise<Page> {
    const tellsRun = this.#redis.isApart ? 1 : 0
    const [answer] = await this.#inTime(() => this.#redis.together([
      ['eval', LOG_PAGE, 1, this.#options.key, after, count, tellsRun]
    ]))
    const [last, lines, time, run] = Array.isArray(answer) ? answer as unknown[] : []
    if (!isId(last) || typeof lines !== 'string' || !(Number(time) > 0) || typeof run !== 'string') {
      throw nonsense('about the log')
    }
    return { last, lines: lines === '' ? [] : lines.split('\n'), time: Number(time), run }
  }

  /** Waits for entries after `after`. Gives them like the lines of a page; none if the time is up. */
  async wait (after: string, time: Milliseconds): Promise<string[]> {
    const { key } = this.#options
    const streams = await this.#inTime(() => this.#redis.proven(
      ['xread', 'COUNT', HEARD_AT_ONCE, 'BLOCK', time, 'STREAMS', key, after]
    ), time)
    if (streams === null) return []
    // With RESP3 a client may give an object by key.
    const [first]: unknown[] = Object.values(Object(streams))
    const entries: unknown = Array.isArray(streams) && Array.isArray(first) ? first[1] : first
    if (!Array.isArray(entries) || entries.length === 0) throw nonsense('about the log')
    const lines: string[] = []
    for (const entry of entries) addLines(lines, entry)
    return lines
  }

  /** `wait`: how long Redis may wait before it answers. */
  async #inTime<T> (act: () => Promise<T>, wait: Milliseconds = 0): Promise<T> {
    const deadline = new Deadline({
      timeout: this.#options.storeTimeout + wait,
      clock: this.#context.clock,
      why: () => this.#redis.whyNoAnswer()
    })
    try {
      return await deadline.run(act)
    } catch (error) {
      if (error instanceof NoAnswer) this.#context.renew()
      throw error
    }
  }
}

/** Adds the lines of one entry as XREAD gives it. An entry that is none of ours has no words. */
function addLines (lines: string[], entry: unknown) {
  const [id, fields] = Array.isArray(entry) ? entry : []
  const [name, words] = Array.isArray(fields) ? fields : []
  lines.push(id, name === 'entry' && typeof words === 'string' && !words.includes('\n') ? words : '')
}
