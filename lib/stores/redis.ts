import type { Milliseconds, Seconds } from '../expiry.ts'
import { keysUnder, type Keys } from '../keys.ts'
import type { RedisClient, TokenRecord } from '../types.ts'
import { Batcher, isValue } from './batcher.ts'
import { Commands, type Command } from './commands.ts'
import { Deadline } from './deadline.ts'
import { Health } from './health.ts'
import type { DenylistEntry } from './denylist.ts'
import { toWords, type LogEntry } from './log.ts'
import { ADD_TOKEN, APPEND, CUT_OFF, KEEP_CUTOFF, LAST_ID, PAGE, REVOKE } from './scripts.ts'
import type { Budget, CheckCallback, Denial, NewDenial, RecordEntry, Store, StoreContext } from './store.ts'

export interface RedisStoreOptions {
  keyPrefix: string
  storeTimeout: Milliseconds
  /** How long an entry of the log matters; null: for ever. */
  logSpan: Seconds | null
}

/** Keeps everything in Redis, on one node or a cluster: each command touches the slot of one key, but for MGET on one node (P8). */
export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly #redis: Commands
  readonly #keys: Keys
  readonly #clock: () => Milliseconds
  readonly #logSpan: Seconds | null
  readonly #deadline: Deadline
  protected readonly health: Health
  readonly #batcher: Batcher

  constructor (client: RedisClient, { keyPrefix, storeTimeout, logSpan }: RedisStoreOptions, context: StoreContext) {
    this.#redis = new Commands(client)
    this.#keys = keysUnder(keyPrefix)
    this.#clock = context.clock
    this.#logSpan = logSpan
    this.#deadline = new Deadline(storeTimeout)
    this.health = new Health(this.#canRead, context)
    this.#batcher = new Batcher(this.#deadline, this.health, this.#redis.read)
  }

  budget () {
    return { left: this.#deadline.timeout }
  }

  within<T> (calls: () => Promise<T>) {
    return this.#within(calls, this.#deadline.timeout)
  }

  get available () {
    return this.health.available
  }

  start () {
    return this.health.start(this.#deadline.timeout)
  }

  close () {
    this.health.close()
  }

  check (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
    const keys: string[] = []
    if (identity !== undefined) keys.push(this.#keys.revoked(identity))
    if (subject !== undefined) keys.push(this.#keys.cutoff(subject))
    this.#batcher.read(keys, (error, values) => {
      if (error) return done(error, false, null)
      // Whatever is kept under the identity, it says: revoked.
      const revoked = identity !== undefined && values[0] !== null
      let cutoff
      try {
        cutoff = subject === undefined ? null : parseCutoff(values[keys.length - 1])
      } catch (error) {
        return done(error, false, null)
      }
      done(null, revoked, cutoff)
    })
  }

  revoke (identity: string, { id, sub, ...denial }: NewDenial, keptUntil: Seconds | null, budget?: Budget) {
    return this.#watched(async () => {
      const { first, ...standing } = await this.#deny(identity, denial, keptUntil)
      // Also where it was denied before: whoever did may not have got as far as this.
      await this.append({ kind: 'revoked', name: identity, ...standing, until: keptUntil, ...(id && { id }), ...(sub && { sub }) })
      return { ...standing, first }
    }, this.#canWrite, budget)
  }

  cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null) {
    return this.#watched(async () => {
      const answer = await this.#redis.eval(CUT_OFF, this.#keys.cutoff(subject), cutoff, ...this.#lasting(keptUntil))
      const [standing, before] = Array.isArray(answer) && answer.length === 2 ? answer.map((value) => parseCutoff(value === '' ? null : value)) : []
      // Lower than what was asked for: nothing that the script gives.
      if (!(standing! >= cutoff) || before === undefined) throw new TypeError('Redis answered nonsense to a cutoff')
      const until = keptUntil && keptUntil + standing! - cutoff
      await this.append({ kind: 'cutoff', name: subject, at: standing!, exp: null, until })
      return { cutoff: standing!, before }
    }, this.#canWrite)
  }

  /** Writes again what Redis has lost: all of it, but for keys that are in somebody else's use. */
  protected putBack (entries: DenylistEntry[]) {
    return this.#within(async () => {
      const failures = await this.#redis.settled(entries.map(({ kind, name, at, exp, until }) => kind === 'revoked'
        ? ['eval', REVOKE, 1, this.#keys.revoked(name), JSON.stringify({ at, exp }), ...this.#lasting(until)]
        : ['eval', KEEP_CUTOFF, 1, this.#keys.cutoff(name), at, ...this.#lasting(until)]))
      const written = entries.filter((_entry, i) => failures[i] === null)
      if (written.length === 0) throw failures[0]
      await this.#redis.all(written.map((entry) => this.#toLog(entry)))
    }, this.#deadline.timeout)
  }

  saveRecord (entry: RecordEntry) {
    const { record, identity, subject } = entry
    const end = expireAt(entry)
    const commands: Command[] = [
      ['set', this.#keys.token(record.id), JSON.stringify(record), ...end],
      ['set', this.#keys.id(identity), record.id, ...end]
    ]
    if (subject !== undefined) commands.push(this.#addToSubject(entry, subject), ['get', this.#keys.cutoff(subject)])
    return this.#watched(async () => {
      const [saved, named, , cutoff] = await this.#redis.all(commands)
      if (saved !== 'OK' || named !== 'OK') throw new TypeError('Redis answered nonsense to a record')
      return subject === undefined ? null : parseCutoff(cutoff)
    }, this.#canWrite)
  }

  addRecord (entry: RecordEntry) {
    const { record, identity, subject } = entry
    const end = expireAt(entry)
    const id = this.#keys.id(identity)
    // The record comes last: an id that has none was left by somebody who failed on the way, and is taken up again.
    return this.#watched(async () => {
      const known = await this.#redis.send(['get', id]) ??
        (await this.#redis.send(['set', id, record.id, 'NX', ...end]) === 'OK' ? record.id : await this.#redis.send(['get', id]))
      const own = { ...record, id: String(known) }
      if (own.id !== record.id && await this.#redis.send(['get', this.#keys.token(own.id)]) !== null) return
      if (subject !== undefined) await this.#redis.all([this.#addToSubject({ ...entry, record: own }, subject)])
      await this.#redis.send(['set', this.#keys.token(own.id), JSON.stringify(own), ...end])
    }, this.#canWrite)
  }

  record (id: string, budget?: Budget) {
    return this.#watched(async () => parseRecord(await this.#redis.send(['get', this.#keys.token(id)])), this.#canRead, budget)
  }

  recordOf (identity: string, budget?: Budget) {
    return this.#watched(async () => {
      const id = await this.#redis.send(['get', this.#keys.id(identity)])
      // Without an id this reads a key that is never there, which takes as long.
      return parseRecord(await this.#redis.send(['get', this.#keys.token(typeof id === 'string' ? id : '')]))
    }, this.#canRead, budget)
  }

  async records (subject: string, limit: number, after?: string) {
    // The script's own word for the start.
    if (after === '') return { records: [] }
    return this.#watched(async () => {
      const answer = await this.#redis.eval(PAGE, this.#keys.tokens(subject), limit + 1, after ?? '', this.#clock() / 1000)
      if (!Array.isArray(answer)) throw new TypeError('Redis answered nonsense to a page of records')
      const ids = answer.slice(0, limit).map(String)
      const found = await this.#redis.all(ids.map((id) => ['get', this.#keys.token(id)]))
      const records = found.map(parseRecord).filter((record) => record !== null)
      return { records, ...(answer.length > limit && { after: ids.at(-1)! }) }
    }, this.#canRead)
  }

  async #deny (identity: string, denial: Denial, keptUntil: Seconds | null) {
    const answer = await this.#redis.eval(REVOKE, this.#keys.revoked(identity), JSON.stringify(denial), ...this.#lasting(keptUntil))
    const [first, value] = Array.isArray(answer) && answer.length === 2 ? answer : []
    if (!/^[01]$/.test(String(first)) || typeof value !== 'string') throw new TypeError('Redis answered nonsense to a revocation')
    return { ...(parseDenial(value) ?? denial), first: Number(first) === 1 }
  }

  /** For what stands under its key by now. */
  protected async append (entry: LogEntry) {
    const [id] = await this.#redis.all([this.#toLog(entry)])
    if (typeof id !== 'string') throw new TypeError('Redis answered nonsense to an entry of the log')
  }

  #toLog (entry: LogEntry): Command {
    return ['eval', APPEND, 1, this.#keys.log, ...toWords(entry), this.#logSpan ?? '']
  }

  /** What a check does, on the key of no token: no identity is empty. */
  readonly #canRead = () => this.#within(async () => {
    const key = this.#keys.revoked('')
    let failure: unknown
    await this.#redis.read([key], (_index, error, value) => {
      if (error || !isValue(value)) failure = error ?? new TypeError('Redis answered nonsense')
    })
    if (failure !== undefined) throw failure
  }, this.#deadline.timeout)

  /** What a revocation does, on the same key, for a second; and without an entry, since those stay. */
  readonly #canWrite = () => this.#within(async () => {
    const soon = Math.ceil(this.#clock() / 1000) + 1
    await this.#deny('', { at: soon, exp: null }, soon)
    await this.#redis.eval(LAST_ID, this.#keys.log)
  }, this.#deadline.timeout)

  #addToSubject ({ record, exp, keptUntil }: RecordEntry, subject: string): Command {
    return ['eval', ADD_TOKEN, 1, this.#keys.tokens(subject), record.id, exp ?? '+inf', ...this.#lasting(keptUntil), this.#clock() / 1000]
  }

  /** How long to keep, as the scripts take it. */
  #lasting (keptUntil: Seconds | null): [until: number | '', span: number | ''] {
    return keptUntil === null ? ['', ''] : [keptUntil * 1000, Math.ceil(keptUntil * 1000 - this.#clock())]
  }

  /** An operation within its time, its failure reported with what has to work again. */
  #watched<T> (operation: () => Promise<T>, needed: () => Promise<void>, budget: Budget = this.budget()): Promise<T> {
    const started = performance.now()
    return this.#within(operation, budget.left)
      .finally(() => { budget.left = Math.max(budget.left - (performance.now() - started), 1) })
      .catch((error) => {
        this.health.failed(error, needed)
        throw error
      })
  }

  #within<T> (operation: () => Promise<T>, left: Milliseconds): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.#deadline.start(reject, left)
      operation().then(resolve, reject).finally(cancel)
    })
  }
}

function expireAt ({ keptUntil }: RecordEntry): [] | ['EXAT', Seconds] {
  return keptUntil === null ? [] : ['EXAT', keptUntil]
}

/** A denial that another service wrote in a form of its own stands as well. */
export function parseDenial (value: string): Denial | null {
  try {
    const { at, exp } = JSON.parse(value)
    return typeof at === 'number' ? { at, exp: typeof exp === 'number' ? exp : null } : null
  } catch {
    return null
  }
}

function parseRecord (value: unknown): TokenRecord | null {
  if (value === null) return null
  const record = JSON.parse(String(value))
  if (typeof record?.id !== 'string' || typeof record.jti !== 'string') throw new TypeError('Redis holds no record under the key of a record')
  return record
}

function parseCutoff (value: unknown): Seconds | null {
  if (value === null) return null
  const cutoff = typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN
  if (Number.isNaN(cutoff)) throw new TypeError('Redis holds no number under the key of a cutoff')
  return cutoff
}
