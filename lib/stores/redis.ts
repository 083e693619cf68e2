import type { Milliseconds, Seconds } from '../expiry.ts'
import { keysUnder, type Keys } from '../keys.ts'
import type { RedisClient } from '../types.ts'
import { Batcher, isValue } from './batcher.ts'
import { Commands, type Command } from './commands.ts'
import { Deadline, NoAnswer } from './deadline.ts'
import { Health } from './health.ts'
import type { DenylistEntry } from './denylist.ts'
import { inspect } from './inspection.ts'
import { ADD_TOKEN, PAGE } from './scripts.ts'
import type { Budget, CheckCallback, NewDenial, RecordEntry, Store, StoreContext } from './store.ts'
import { parseCutoff, parseRecord } from './values.ts'
import { lasting, Writer, type WriterOptions } from './writer.ts'

export interface RedisStoreOptions extends WriterOptions {
  keyPrefix: string
}

const MAX_OUTSTANDING = 2000

/** Keeps everything in Redis, on one node or a cluster: each command touches the slot of one key, but for MGET on one node (P8). */
export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly #redis: Commands
  readonly #keys: Keys
  readonly #clock: () => Milliseconds
  readonly #writer: Writer
  readonly #deadline: Deadline
  protected readonly health: Health
  readonly #batcher: Batcher
  readonly #onWarning: (sentence: string) => void
  readonly #minReplicas: number
  readonly #leaveWriter: (() => void) | undefined
  warnings: readonly string[] = []
  #inspected = false
  #outstanding = 0

  /** `writing`: the client that writes revocations, where that is another one; `leaveWriter`: for a new connection. */
  constructor (client: RedisClient, options: RedisStoreOptions, context: StoreContext, writing = client, leaveWriter?: () => void) {
    const { keyPrefix, storeTimeout } = options
    this.#redis = new Commands(client)
    this.#keys = keysUnder(keyPrefix)
    this.#clock = context.clock
    this.#minReplicas = options.minReplicas
    this.#leaveWriter = leaveWriter
    this.#deadline = new Deadline(storeTimeout)
    this.#writer = new Writer(writing, { ...options, keys: this.#keys }, context.clock)
    this.#onWarning = context.onWarning ?? (() => {})
    this.health = new Health(this.#canRead, {
      ...context,
      onBack: () => {
        context.onBack()
        this.#inspect()
      }
    })
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

  async start () {
    await this.health.start(this.#deadline.timeout)
    if (this.available) await this.#inspect()
  }

  close () {
    this.health.close()
    this.#writer.close()
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

  revoke (identity: string, denial: NewDenial, keptUntil: Seconds | null, budget?: Budget) {
    return this.#watched(() => this.#writer.deny(identity, denial, keptUntil), this.#canWrite, budget)
  }

  cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null, enough: Seconds | null = null) {
    return this.#watched(() => this.#writer.cutOff(subject, cutoff, keptUntil, enough), this.#canWrite)
  }

  /** Writes again what Redis has lost. */
  protected putBack (entries: DenylistEntry[]) {
    return this.within(() => this.#writer.putBack(entries))
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

  /** Once: at the start, or when it answers for the first time. A user that may not ask INFO gets no warnings. */
  async #inspect () {
    if (this.#inspected) return
    this.#inspected = true
    try {
      this.warnings = await this.within(async () => inspect(String(await this.#redis.send(['info'])), this.#minReplicas))
    } catch {
      return
    }
    for (const sentence of this.warnings) this.#onWarning(sentence)
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

  readonly #canWrite = () => this.within(() => this.#writer.probe()).catch((error) => {
    if (error instanceof NoAnswer) this.#leaveWriter?.()
    throw error
  })

  #addToSubject ({ record, exp, keptUntil }: RecordEntry, subject: string): Command {
    return ['eval', ADD_TOKEN, 1, this.#keys.tokens(subject), record.id, exp ?? '+inf', ...lasting(keptUntil, this.#clock()), this.#clock() / 1000]
  }

  /** An operation within its time, its failure reported with what has to work again. */
  #watched<T> (operation: () => Promise<T>, needed: () => Promise<void>, budget: Budget = this.budget()): Promise<T> {
    const started = performance.now()
    return this.#within(() => this.#counted(operation), budget.left)
      .finally(() => { budget.left = Math.max(budget.left - (performance.now() - started), 1) })
      .catch((error) => {
        this.health.failed(error, needed)
        throw error
      })
  }

  /** A client queues without bound while Redis is away. */
  async #counted<T> (operation: () => Promise<T>): Promise<T> {
    if (this.#outstanding >= MAX_OUTSTANDING) throw new Error(`Redis owes answers to ${MAX_OUTSTANDING} operations`)
    this.#outstanding++
    try {
      return await operation()
    } finally {
      this.#outstanding--
    }
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
