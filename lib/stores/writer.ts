import type { Milliseconds, Seconds } from '../expiry.ts'
import type { Keys } from '../keys.ts'
import type { RedisClient } from '../types.ts'
import { Commands, type Command } from './commands.ts'
import type { DenylistEntry } from './denylist.ts'
import { toWords, type LogEntry } from './log.ts'
import { APPEND, CUT_OFF, KEEP_CUTOFF, LAST_ID, REVOKE } from './scripts.ts'
import type { Denial, NewDenial } from './store.ts'
import { parseCutoff, parseDenial } from './values.ts'

export interface WriterOptions {
  storeTimeout: Milliseconds
  /** How long an entry of the log matters; null: for ever. */
  logSpan: Seconds | null
  /** How many replicas of Redis must hold a write before it counts. */
  minReplicas: number
}

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
    const { first, ...standing } = await this.#deny(identity, denial, keptUntil)
    // Also where it was denied before: whoever did may not have got as far as this.
    await this.#append({ kind: 'revoked', name: identity, ...standing, until: keptUntil, ...(id && { id }), ...(sub && { sub }) })
    return { ...standing, first }
  }

  async cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null): Promise<{ cutoff: Seconds, before: Seconds | null }> {
    const answer = await this.#write(['eval', CUT_OFF, 1, this.#keys.cutoff(subject), cutoff, ...lasting(keptUntil, this.#clock())])
    const [standing, before] = Array.isArray(answer) && answer.length === 2 ? answer.map((value) => parseCutoff(value === '' ? null : value)) : []
    // Lower than what was asked for: nothing that the script gives.
    if (!(standing! >= cutoff) || before === undefined) throw new TypeError('Redis answered nonsense to a cutoff')
    await this.#append({ kind: 'cutoff', name: subject, at: standing!, exp: null, until: keptUntil && keptUntil + standing! - cutoff })
    return { cutoff: standing!, before }
  }

  /** Writes again what Redis has lost: all of it, but for keys that are in somebody else's use. */
  async putBack (entries: DenylistEntry[]) {
    const failures = await this.#redis.settled(entries.map(({ kind, name, at, exp, until }) => kind === 'revoked'
      ? ['eval', REVOKE, 1, this.#keys.revoked(name), JSON.stringify({ at, exp }), ...lasting(until, this.#clock())]
      : ['eval', KEEP_CUTOFF, 1, this.#keys.cutoff(name), at, ...lasting(until, this.#clock())]))
    const written = entries.filter((_entry, i) => failures[i] === null)
    if (written.length === 0) throw failures[0]
    await this.#redis.all(written.map((entry) => this.#toLog(entry)))
  }

  /** What a revocation does, on the key of no token, for a second; and without an entry, since those stay. */
  async probe () {
    const soon = Math.ceil(this.#clock() / 1000) + 1
    await this.#deny('', { at: soon, exp: null }, soon)
    await this.#redis.eval(LAST_ID, this.#keys.log)
  }

  async #deny (identity: string, denial: Denial, keptUntil: Seconds | null) {
    const answer = await this.#write(['eval', REVOKE, 1, this.#keys.revoked(identity), JSON.stringify(denial), ...lasting(keptUntil, this.#clock())])
    const [first, value] = Array.isArray(answer) && answer.length === 2 ? answer : []
    if (!/^[01]$/.test(String(first)) || typeof value !== 'string') throw new TypeError('Redis answered nonsense to a revocation')
    return { ...(parseDenial(value) ?? denial), first: Number(first) === 1 }
  }

  async #append (entry: LogEntry) {
    this.#written(entry)
    const id = await this.#write(this.#toLog(entry))
    if (typeof id !== 'string') throw new TypeError('Redis answered nonsense to an entry of the log')
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
