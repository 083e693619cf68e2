import type { Milliseconds, Seconds } from '../../domain/retention.ts'
import { keysUnder, type Keys } from '../../domain/names.ts'
import { monotonic } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import { Batcher, isValue } from './batcher.ts'
import { Commands } from './commands.ts'
import { Connections } from './connections.ts'
import { Deadline, isOfOneKey, NoAnswer, TooMuch } from './deadline.ts'
import { whyFailed } from './diagnosis.ts'
import { Health } from './health.ts'
import type { DenylistEntry } from '../replica/denylist.ts'
import { inspect } from './inspection.ts'
import { RedisRecords } from './records.ts'
import type { Budget, CheckCallback, CutoffOptions, Denial, NewDenial, RecordEntry, Store, StoreContext, WriteOptions } from '../store.ts'
import { parseCutoff } from './values.ts'
import { Writer, type WriterOptions, type WritingClient } from './writer.ts'

export interface RedisStoreOptions extends WriterOptions {
  keyPrefix: string
}

const MAX_OUTSTANDING = 2000

/** Keeps everything in Redis, on one node or a cluster: each command touches the slot of one key, but for MGET on one node (P8). */
export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly #redis: Commands
  readonly #keys: Keys
  readonly #records: RedisRecords
  readonly #writer: Writer
  readonly #deadline: Deadline
  protected readonly health: Health
  readonly #batcher: Batcher
  readonly #onWarning: (sentence: string) => void
  readonly #minReplicas: number
  readonly #writing: WritingClient
  warnings: readonly string[] = []
  readonly #connections: Connections
  #connected: unknown[] = []
  #generation = 0
  #inspected = false
  #outstanding = 0
  #isSuspected = false

  /** `writing`: what writes revocations, where that is another connection. */
  constructor (client: RedisClient, options: RedisStoreOptions, context: StoreContext, writing: WritingClient = { client }) {
    const { keyPrefix, storeTimeout } = options
    this.#redis = new Commands(client)
    this.#keys = keysUnder(keyPrefix)
    this.#minReplicas = options.minReplicas
    this.#connections = new Connections(client)
    this.#writing = writing
    this.#records = new RedisRecords(this.#redis, this.#keys, options.longest, context.clock)
    const why = () => whyFailed(writing.client) ?? this.#redis.why()
    this.#deadline = new Deadline(storeTimeout, why)
    this.#writer = new Writer(writing, { ...options, keys: this.#keys }, context)
    this.#onWarning = context.onWarning ?? (() => {})
    this.health = new Health(this.#canRead, {
      ...context,
      onBack: () => {
        this.forgotten()
        context.onBack()
        this.#inspect()
      }
    }, why)
    this.#batcher = new Batcher(this.#deadline, this.health, this.#redis.read)
  }

  budget () {
    return { left: this.#deadline.timeout }
  }

  within<T> (calls: () => Promise<T>) {
    return this.#within(calls, this.#deadline.timeout)
  }

  /** Looked at when it is asked for: nobody listens to a client that was given. */
  get generation () {
    if (!this.#connections.areStill(this.#connected)) this.forgotten()
    return this.#generation
  }

  /** What Redis held may be lost. */
  protected forgotten () {
    this.#connected = this.#connections.now()
    this.#generation++
  }

  get available () {
    return this.health.available
  }

  async start () {
    await this.health.start(this.#deadline.timeout)
    if (!this.available) return
    await this.#inspect()
    const { proof } = this.#writing
    if (proof !== undefined) await this.within(proof.require).catch((error) => this.health.failed(error, this.#canWrite))
  }

  close () {
    this.health.close()
    this.#writer.close()
  }

  check (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
    this.checkInRedis(identity, subject, done)
  }

  checkShared (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
    this.checkInRedis(identity, subject, done)
  }

  protected checkInRedis (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
    const keys: string[] = []
    if (identity !== undefined) keys.push(this.#keys.revoked(identity))
    if (subject !== undefined) keys.push(this.#keys.cutoff(subject))
    this.#batcher.read(keys, (error, values) => {
      // Whatever is kept under the identity, it says: revoked. What is known of one name comes with the error of the other.
      const revoked = identity !== undefined && typeof values[0] === 'string'
      let cutoff: Seconds | null = null
      try {
        if (subject !== undefined) cutoff = parseCutoff(values[keys.length - 1] ?? null)
      } catch (badValue) {
        error ??= badValue
      }
      done(error, revoked, cutoff)
    })
  }

  revoke (identity: string, denial: NewDenial, keptUntil: Seconds | null, { budget, made }: WriteOptions<Denial> = {}) {
    return this.#watched(() => this.#writer.deny(identity, denial, keptUntil, made), this.#canWrite, budget)
  }

  cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null, options: CutoffOptions = {}) {
    return this.#watched(() => this.#writer.cutOff(subject, cutoff, keptUntil, options), this.#canWrite, options.budget)
  }

  /** Writes again what Redis has lost. */
  protected putBack (entries: DenylistEntry[]) {
    return this.within(() => this.#writer.putBack(entries))
  }

  saveRecord (entry: RecordEntry, isFirst = false) {
    return this.#watched(() => this.#records.save(entry, isFirst), this.#canWrite)
  }

  addRecord (entry: RecordEntry) {
    return this.#watched(() => this.#records.add(entry), this.#canWrite)
  }

  record (id: string, budget?: Budget) {
    return this.#watched(() => this.#records.byId(id), this.#canRead, budget)
  }

  recordOf (identity: string, budget?: Budget) {
    return this.#watched(() => this.#records.of(identity), this.#canRead, budget)
  }

  async records (subject: string, limit: number, after?: string, now?: Seconds) {
    // The script's own word for the start.
    if (after === '') return { records: [] }
    return this.#watched(() => this.#records.page(subject, limit, after, now), this.#canRead)
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
    if (error instanceof NoAnswer) this.#writing.reconnect?.()
    throw error
  })

  /** An operation within its time, its failure reported with what has to work again. */
  #watched<T> (operation: () => Promise<T>, needed: () => Promise<void>, budget: Budget = this.budget()): Promise<T> {
    const started = monotonic()
    return this.#within(() => this.#counted(operation), budget.left)
      .finally(() => { budget.left = Math.max(budget.left - (monotonic() - started), 1) })
      .catch((error) => {
        if (isOfOneKey(error)) this.#suspect(error, needed)
        else if (!(error instanceof TooMuch)) this.health.failed(error, needed)
        throw error
      })
  }

  /** One key is in somebody else's use, or every key that is needed: the log is one. */
  async #suspect (error: unknown, needed: () => Promise<void>) {
    if (this.#isSuspected) return
    this.#isSuspected = true
    await needed().catch(() => this.health.failed(error, needed))
    this.#isSuspected = false
  }

  /** A client queues without bound while Redis is away. */
  async #counted<T> (operation: () => Promise<T>): Promise<T> {
    if (this.#outstanding >= MAX_OUTSTANDING) throw this.health.refusal(`Redis owes answers to ${MAX_OUTSTANDING} operations`)
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
