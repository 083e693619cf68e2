import { setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds, Seconds } from '../expiry.ts'
import type { Keys } from '../keys.ts'
import type { RedisClient } from '../types.ts'
import { Commands, type Command } from './commands.ts'
import { START, toWords, type LogEntry } from './log.ts'
import { APPEND, CUT_OFF, KEEP_CUTOFF, LOG_PAGE, REVOKE } from './scripts.ts'
import type { Denial, NewDenial } from './store.ts'
import { parseCutoff, parseDenial } from './values.ts'

export interface WriterOptions {
  storeTimeout: Milliseconds
  /** How long an entry of the log matters; null: for ever. */
  logSpan: Seconds | null
  /** How many replicas of Redis must hold a write before it counts. */
  minReplicas: number
}

const FINISH_INTERVAL: Milliseconds = 1000
const FINISHED_AT_ONCE = 100
/** More are not remembered: Redis is away, and nothing of theirs is likely to stand. */
const MAX_UNFINISHED = 10_000

/** Told of what stands under its key by now, before it is in the log. */
export type Written = (entry: LogEntry) => void

/** Writes revocations: the key first, then the log. */
export class Writer {
  readonly #redis: Commands
  readonly #keys: Keys
  readonly #logSpan: Seconds | null
  readonly #minReplicas: number
  readonly #patience: Milliseconds
  readonly #clock: () => Milliseconds
  readonly #written: Written
  readonly #unfinished = new Map<string, LogEntry>()
  #finisher: Promise<void> | undefined
  #closed = false

  constructor (
    client: RedisClient, { keys, storeTimeout, logSpan, minReplicas }: WriterOptions & { keys: Keys },
    clock: () => Milliseconds, written: Written = () => {}
  ) {
    this.#redis = new Commands(client)
    this.#keys = keys
    this.#logSpan = logSpan
    this.#minReplicas = minReplicas
    // Two waits are to end before the caller does.
    this.#patience = Math.max(Math.floor(storeTimeout / 3), 1)
    this.#clock = clock
    this.#written = written
  }

  async deny (identity: string, { id, sub, ...denial }: NewDenial, keptUntil: Seconds | null): Promise<Denial & { first: boolean }> {
    const entry: LogEntry = { kind: 'revoked', name: identity, ...denial, until: keptUntil, ...(id && { id }), ...(sub && { sub }) }
    return this.#finished(entry, async () => {
      const { first, ...standing } = await this.#deny(identity, denial, keptUntil)
      // Also where it was denied before: whoever did may not have got as far as this.
      const isKept = await this.#append({ ...entry, ...standing }, this.#keys.revoked(identity))
      if (!isKept) await this.putBack([entry])
      return { ...standing, first }
    })
  }

  async cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null): Promise<{ cutoff: Seconds, before: Seconds | null }> {
    const entry: LogEntry = { kind: 'cutoff', name: subject, at: cutoff, exp: null, until: keptUntil }
    return this.#finished(entry, async () => {
      const answer = await this.#write(['eval', CUT_OFF, 1, this.#keys.cutoff(subject), cutoff, ...lasting(keptUntil, this.#clock())])
      const [standing, before] = Array.isArray(answer) && answer.length === 2 ? answer.map((value) => parseCutoff(value === '' ? null : value)) : []
      // Lower than what was asked for: nothing that the script gives.
      if (!(standing! >= cutoff) || before === undefined) throw new TypeError('Redis answered nonsense to a cutoff')
      const kept = { ...entry, at: standing!, until: keptUntil && keptUntil + standing! - cutoff }
      if (!await this.#append(kept, this.#keys.cutoff(subject))) await this.putBack([kept])
      return { cutoff: standing!, before }
    })
  }

  /** Writes again what Redis has lost, but for keys that are in somebody else's use. */
  async putBack (entries: LogEntry[]) {
    const answers = await this.#redis.settled(entries.map(({ kind, name, at, exp, until }) => kind === 'revoked'
      ? ['eval', REVOKE, 1, this.#keys.revoked(name), JSON.stringify({ at, exp }), ...lasting(until, this.#clock())]
      : ['eval', KEEP_CUTOFF, 1, this.#keys.cutoff(name), at, ...lasting(until, this.#clock())]))
    const written: Command[] = []
    for (const [i, entry] of entries.entries()) {
      const [error, standing] = answers[i]!
      if (error === null) written.push(this.#toLog(entry.kind === 'revoked' ? entry : { ...entry, at: parseCutoff(standing)! }))
      else if (!error.message.includes('WRONGTYPE')) throw error
    }
    await this.#redis.all(written)
  }

  close () {
    this.#closed = true
  }

  /**
   * A revocation that failed on its way may stand under its key and not be in the log, so that those who read the key
   * refuse the token, also to whoever tries to revoke it again with it, and those who follow the log never do.
   */
  async #finished<T> (entry: LogEntry, write: () => Promise<T>): Promise<T> {
    try {
      return await write()
    } catch (error) {
      if (this.#unfinished.size < MAX_UNFINISHED) this.#unfinished.set(`${entry.kind}:${entry.name}`, entry)
      this.#finisher ??= this.#finish()
      throw error
    }
  }

  async #finish () {
    while (this.#unfinished.size > 0) {
      await sleep(FINISH_INTERVAL, undefined, { ref: false })
      if (this.#closed) return
      const some = [...this.#unfinished].slice(0, FINISHED_AT_ONCE)
      try {
        await this.putBack(some.map(([, entry]) => entry))
      } catch {
        continue
      }
      for (const [key, entry] of some) if (this.#unfinished.get(key) === entry) this.#unfinished.delete(key)
    }
    this.#finisher = undefined
  }

  /** What a revocation does, on the key of no token, for a second; and without an entry, since those stay. */
  async probe () {
    const soon = Math.ceil(this.#clock() / 1000) + 1
    await this.#deny('', { at: soon, exp: null }, soon)
    await this.#redis.eval(LOG_PAGE, this.#keys.log, START, 1)
  }

  async #deny (identity: string, denial: Denial, keptUntil: Seconds | null) {
    const answer = await this.#write(['eval', REVOKE, 1, this.#keys.revoked(identity), JSON.stringify(denial), ...lasting(keptUntil, this.#clock())])
    const [first, value] = Array.isArray(answer) && answer.length === 2 ? answer : []
    if (!/^[01]$/.test(String(first)) || typeof value !== 'string') throw new TypeError('Redis answered nonsense to a revocation')
    return { ...(parseDenial(value) ?? denial), first: Number(first) === 1 }
  }

  /** Gives whether the key is still there: Redis may lose its data between the two writes. */
  async #append (entry: LogEntry, key: string): Promise<boolean> {
    this.#written(entry)
    const exists: Command = ['exists', key]
    const [id, isThere] = this.#minReplicas === 0
      ? await this.#redis.all([this.#toLog(entry), exists])
      : [await this.#write(this.#toLog(entry)), await this.#redis.send(exists)]
    if (typeof id !== 'string' || typeof isThere !== 'number') throw new TypeError('Redis answered nonsense to an entry of the log')
    return isThere === 1
  }

  #toLog (entry: LogEntry): Command {
    return ['eval', APPEND, 1, this.#keys.log, ...toWords(entry), this.#logSpan ?? '']
  }

  /** WAIT counts what its own connection wrote, on the node where that was: both go as one pipeline. */
  async #write (command: Command): Promise<unknown> {
    if (this.#minReplicas === 0) return (await this.#redis.all([command]))[0]
    const [answer, held] = await this.#redis.together([command, ['wait', this.#minReplicas, this.#patience]])
    if (Number(held) >= this.#minReplicas) return answer
    throw new Error(`${Number(held)} of the ${this.#minReplicas} replicas that option "minReplicas" asks for hold the write`)
  }
}

/** How long to keep something, as the scripts take it. */
export function lasting (keptUntil: Seconds | null, now: Milliseconds): [until: number | '', span: number | ''] {
  return keptUntil === null ? ['', ''] : [keptUntil * 1000, Math.ceil(keptUntil * 1000 - now)]
}
