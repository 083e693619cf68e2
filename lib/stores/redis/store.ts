import { nonsense } from '../../errors.ts'
import { turn, type Clock, type Milliseconds } from '../../time.ts'
import type { Budget, Store, StoreContext, StoreStatus } from '../store.ts'
import { isValue } from './answers.ts'
import type { Commands } from './commands.ts'
import { Connections, type Connection } from './connection.ts'
import { RedisDenials } from './denials.ts'
import { inspect } from './inspection.ts'
import { keysUnder } from './keys.ts'
import { Link } from './link.ts'
import { RedisRecords } from './records.ts'
import { RedisRefreshes } from './refreshes.ts'
import { commandsOf } from './topology.ts'
import { Writer, type WriterOptions } from './writer.ts'

export interface RedisOptions extends WriterOptions {
  keyPrefix: string
  storeTimeout: Milliseconds
}

export interface RedisStoreContext {
  connection: Connection
  /** The connection that writes revocations. Default: `connection`. */
  writing?: Connection | undefined
  options: RedisOptions
  context: StoreContext
}

/** Keeps everything in Redis. On a cluster each command touches the slot of one key (P8). */
export class RedisStore implements Store {
  readonly denials: RedisDenials
  readonly records: RedisRecords
  readonly refreshes: RedisRefreshes
  readonly link: Link
  readonly #redis: Commands
  readonly #clock: Clock
  readonly #writer: Writer
  readonly #writing: Connection
  readonly #onWarning: (sentence: string) => void
  readonly #minReplicas: number
  readonly #connections: Connections
  #warnings: readonly string[] = []
  #connected: unknown[] = []
  #generation = 0
  #isInspected = false

  constructor ({ connection, writing = connection, options, context }: RedisStoreContext) {
    const redis = commandsOf(connection)
    const keys = keysUnder(options.keyPrefix)
    const { clock } = context
    this.#redis = redis
    this.#clock = clock
    this.#writing = writing
    this.#minReplicas = options.minReplicas
    this.#connections = new Connections(redis)
    this.#onWarning = context.onWarning ?? (() => {})
    const all = new Connections(redis, commandsOf(writing))
    let seen: unknown[] = []
    const canRead = () => this.within(() => this.#readNothing(keys.of({ kind: 'revoked', name: '' })))
    this.link = new Link({
      ...context,
      timeout: options.storeTimeout,
      wereRenewed () {
        const before = seen
        seen = all.now()
        return !all.areStill(before)
      },
      probe: canRead,
      why: () => commandsOf({ client: writing.client }).why() ?? redis.whyNoAnswer(),
      onBack: () => {
        this.forget()
        context.onBack()
        this.#inspect()
      }
    })
    this.#writer = new Writer({ ...options, ...context, connection: writing, keys, link: this.link })
    const { link } = this
    this.denials = new RedisDenials({ redis, link, keys, writer: this.#writer, writing, canRead, clock })
    const { canWrite } = this.denials
    this.records = new RedisRecords({ redis, link, keys, longest: options.longest, clock, canRead, canWrite })
    const { records } = this
    this.refreshes = new RedisRefreshes({ redis, link, keys, writer: this.#writer, records, canWrite })
  }

  budget () {
    return this.link.budget()
  }

  within<T> (calls: () => Promise<T>, budget?: Budget) {
    return this.link.within(calls, budget)
  }

  /** Compares connections only when it is asked, because a client that was given gets no listener. */
  get generation () {
    if (!this.#connections.areStill(this.#connected)) this.forget()
    return this.#generation
  }

  get status (): StoreStatus {
    return { kind: 'redis', available: this.link.health.available, warnings: this.#warnings }
  }

  /** Redis may have lost what it held. */
  forget () {
    this.#connected = this.#connections.now()
    this.#generation++
  }

  async start () {
    await this.link.health.start(this.link.deadline.timeout)
    if (!this.link.health.available) return
    await this.#inspect()
    const { proof } = this.#writing
    if (proof === undefined) return
    await this.within(proof.require).catch((error) => this.link.failed(error, this.denials.canWrite))
  }

  async close () {
    this.link.health.close()
    this.#writer.close()
    this.denials.flush()
    const { deadline } = this.link
    const end = this.#clock.monotonic() + deadline.timeout
    do {
      await deadline.settled()
      // An operation goes on with what it does next.
      await turn()
      this.denials.flush()
    } while (deadline.isRunning && this.#clock.monotonic() < end)
  }

  /** Runs once, when Redis answers for the first time. A user that may not call INFO gets no warnings. */
  async #inspect () {
    if (this.#isInspected) return
    this.#isInspected = true
    try {
      const info = await this.within(() => this.#redis.send(['info']))
      this.#warnings = inspect(String(info), this.#minReplicas)
    } catch {
      return
    }
    for (const sentence of this.#warnings) this.#onWarning(sentence)
  }

  /** Does what a check does. `key` belongs to no token, because no identity is empty. */
  #readNothing (key: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#redis.read([key], (_index, error, value) => {
        if (error === null && isValue(value)) resolve()
        else reject(error ?? nonsense('to a check'))
      })
    })
  }
}
