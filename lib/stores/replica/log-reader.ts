import { nonsense } from '../../errors.ts'
import type { Clock, Milliseconds } from '../../time.ts'
import { Deadline } from '../deadline.ts'
import type { Command, Commands } from '../redis/commands.ts'
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
  readonly #key: string
  readonly #deadline: Deadline

  constructor (redis: Commands, { key, storeTimeout }: LogOptions, { clock, renew }: LogContext) {
    this.#redis = redis
    this.#key = key
    this.#deadline = new Deadline({
      timeout: storeTimeout,
      clock,
      why: () => redis.whyNoAnswer(),
      onNoAnswer: renew
    })
  }

  /** Reads, at one moment, the last id of the log and the entries after `after`. */
  async page (after: string, count: number): Promise<Page> {
    const tellsRun = this.#redis.isApart ? 1 : 0
    const [answer] = await this.#deadline.run(() => this.#redis.together([
      ['eval', LOG_PAGE, 1, this.#key, after, count, tellsRun]
    ]))
    const [last, lines, time, run] = Array.isArray(answer) ? answer as unknown[] : []
    if (!isId(last) || typeof lines !== 'string' || !(Number(time) > 0) || typeof run !== 'string') {
      throw nonsense('about the log')
    }
    return { last, lines: lines === '' ? [] : lines.split('\n'), time: Number(time), run }
  }

  /** Waits for entries after `after`. `heardLines` reads the answer. */
  wait (after: string, time: Milliseconds): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const running = this.#deadline.begin(reject, this.#deadline.timeout + time)
      const command: Command = ['xread', 'COUNT', HEARD_AT_ONCE, 'BLOCK', time, 'STREAMS', this.#key, after]
      this.#redis.proven(command, (error, answer) => {
        this.#deadline.end(running)
        if (error === null) resolve(answer)
        else reject(error)
      })
    })
  }
}

/** What a wait has heard, like the lines of a page; none if the time is up. */
export function heardLines (streams: unknown): string[] {
  if (streams === null) return []
  // With RESP3 a client may give an object by key.
  const first: unknown = Array.isArray(streams) ? streams[0] : Object.values(Object(streams))[0]
  const entries: unknown = Array.isArray(streams) && Array.isArray(first) ? first[1] : first
  if (!Array.isArray(entries) || entries.length === 0) throw nonsense('about the log')
  const lines: string[] = []
  for (const entry of entries) addLines(lines, entry)
  return lines
}

/** Adds the lines of one entry as XREAD gives it. An entry that is none of ours has no words. */
function addLines (lines: string[], entry: unknown) {
  const [id, fields] = Array.isArray(entry) ? entry : []
  const [name, words] = Array.isArray(fields) ? fields : []
  lines.push(id, name === 'entry' && typeof words === 'string' && !words.includes('\n') ? words : '')
}
