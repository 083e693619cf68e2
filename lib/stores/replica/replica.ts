import { OtherData } from '../../errors.ts'
import { turn, type Clock, type Milliseconds } from '../../time.ts'
import type { Commands } from '../redis/commands.ts'
import type { Connection } from '../redis/connection.ts'
import { keysUnder } from '../redis/keys.ts'
import { RedisStore, type RedisOptions } from '../redis/store.ts'
import { commandsOf } from '../redis/topology.ts'
import type { Budget, Store, StoreContext, StoreStatus } from '../store.ts'
import { ReplicaDenials } from './denials.ts'
import { Follower } from './follower.ts'
import { RedisTime } from './redis-time.ts'
import { Repair } from './repair.ts'
import { scanDenylist, type Scan } from './scan.ts'
import { SlotsMove } from './slots.ts'
import { readStanding } from './standing.ts'

export interface ReplicaOptions extends RedisOptions {
  maxStaleness: Milliseconds
}

export interface ReplicaStoreContext {
  connection: Connection
  writing?: Connection | undefined
  /** The connection for the log alone. */
  log: Connection
  options: ReplicaOptions
  context: StoreContext
}

const MAX_BLOCK: Milliseconds = 1000
/**
 * How long a start waits for a long log, within Fastify's pluginTimeout. Checks ask Redis until it is read.
 */
const MAX_START: Milliseconds = 5000
const TICK: Milliseconds = 250
/** How many parts of the denylist a tick sweeps: enough for a million entries a minute. */
const SWEPT_AT_ONCE = 4

/** A store on Redis. Checks look into a copy of the denylist in this process while the copy is fresh. */
export class ReplicaStore implements Store {
  readonly denials: ReplicaDenials
  readonly #redis: RedisStore
  readonly #time: RedisTime
  readonly #maxStaleness: Milliseconds
  readonly #keyPrefix: string
  readonly #onWarning: StoreContext['onWarning']
  readonly #log: Connection
  readonly #commands: Commands
  readonly #follower: Follower
  readonly #repair: Repair
  readonly #clock: Clock
  readonly #stopTicking: () => void
  #started: Milliseconds
  #complete!: () => void
  readonly #whenComplete = new Promise<void>((resolve) => { this.#complete = resolve })
  #lastFailure: unknown
  #isSuspect = false
  /** How many parts of the standing cutoffs were read since the last reading that came to its end. */
  #standingRead = 0

  constructor ({ connection, writing, log, options, context }: ReplicaStoreContext) {
    const { clock } = context
    this.#clock = clock
    this.#started = clock.monotonic()
    this.#time = new RedisTime(clock)
    this.#maxStaleness = options.maxStaleness
    this.#keyPrefix = options.keyPrefix
    this.#onWarning = context.onWarning
    this.#log = log
    this.#commands = commandsOf(log)
    this.#redis = new RedisStore({
      connection,
      writing,
      options,
      context: {
        ...context,
        onLost: (error) => {
          // Whatever failed, the store is back only when the log is followed again.
          this.#redis.link.health.failed(error, this.#canFollow)
          context.onLost(error)
        }
      }
    })
    this.denials = new ReplicaDenials({
      redis: this.#redis.denials,
      time: this.#time,
      isStale: () => this.#isStale(),
      context
    })
    this.#repair = new Repair({
      denylist: this.denials.copy,
      putBack: (entries) => this.#redis.denials.putBack(entries),
      clock
    })
    this.#follower = new Follower(this.#commands, {
      key: keysUnder(options.keyPrefix).log,
      // The follower reads several times before its silence counts.
      block: Math.min(Math.ceil(options.maxStaleness / 4), MAX_BLOCK),
      storeTimeout: options.storeTimeout,
      span: options.logSpan
    }, {
      clock,
      time: this.#time,
      onEntries: (entries, isNews) => this.denials.learn(entries, { isLogged: true, isNews }),
      onBroken: () => {
        this.#redis.forget()
        return this.#repair.begin()
      },
      onRead: (complete) => this.#read(complete),
      onFailed: (error) => this.#failed(error),
      renew: () => log.renew?.()
    })
    this.#stopTicking = clock.every(() => this.#tick(), TICK)
  }

  get records () {
    return this.#redis.records
  }

  get refreshes () {
    return this.#redis.refreshes
  }

  get generation () {
    return this.#redis.generation
  }

  get status (): StoreStatus & Required<Pick<StoreStatus, 'copy'>> {
    const { heardAt } = this.#follower
    const stalenessMs = heardAt === undefined ? undefined : this.#clock.monotonic() - heardAt
    return { ...this.#redis.status, copy: { entries: this.denials.copy.size, stalenessMs } }
  }

  budget () {
    return this.#redis.budget()
  }

  within<T> (calls: () => Promise<T>, budget?: Budget) {
    return this.#redis.within(calls, budget)
  }

  async start () {
    this.#started = this.#clock.monotonic()
    this.#follower.run()
    await this.#redis.start()
    if (!this.#redis.status.available) return
    await this.#isProven().catch((error) => this.#redis.link.failed(error, this.#isProven))
    const patience = new AbortController()
    await Promise.race([this.#whenComplete, this.#clock.sleep(MAX_START, { signal: patience.signal })])
    patience.abort()
  }

  async close () {
    this.#complete()
    this.#stopTicking()
    this.#follower.close()
    this.#repair.close()
    await this.#redis.close()
  }

  #isStale (): boolean {
    const { heardAt } = this.#follower
    return heardAt === undefined || this.#clock.monotonic() - heardAt > this.#maxStaleness
  }

  /** Whether no read was answered for longer than `limit`. Reading a long log takes time, and is no loss. */
  #isSilent (limit: Milliseconds): boolean {
    const { progressAt = this.#started } = this.#follower
    return this.#clock.monotonic() - progressAt > limit
  }

  readonly #isProven = () => this.within(async () => this.#log.proof?.require())

  /** Half: otherwise one answer of a connection that is stuck would bring the store back only to lose it. */
  readonly #canFollow = async () => {
    if (!this.#isSilent(this.#maxStaleness / 2)) return
    const cause = this.#lastFailure ?? this.#commands.whyNoAnswer()
    throw new Error(`Redis' log was not heard of for ${this.#maxStaleness} ms`, { cause })
  }

  #tick () {
    for (let part = 0; part < SWEPT_AT_ONCE; part++) this.denials.copy.sweep()
    if (!this.#isStale()) this.#repair.tick(this.#redis.generation)
    // Two ticks must find silence: after a stall of the event loop the answer still lies in the socket.
    const isSuspect = this.#redis.status.available && this.#isSilent(this.#maxStaleness)
    if (isSuspect && this.#isSuspect) {
      this.#canFollow().catch((error) => this.#redis.link.failed(error, this.#canFollow))
    }
    this.#isSuspect = isSuspect
  }

  #failed (error: unknown) {
    if (error instanceof OtherData) this.#redis.link.failed(error, this.#isProven)
    if (error instanceof SlotsMove) {
      // The store is not lost: Redis answers, and each check asks it.
      this.#follower.progressAt = this.#clock.monotonic()
      if (!(this.#lastFailure instanceof SlotsMove)) {
        this.#onWarning?.(`each check asks Redis as long as this holds: ${error.message}`)
      }
    }
    this.#lastFailure = error
  }

  /**
   * Reads the cutoffs that have outlived their entries of the log. They count as logged: a replica that
   * starts later finds them as well. Parts that were read before are no progress: what comes after them may
   * fail again and again, and then the store is lost.
   */
  async #readStanding (scan: Scan, isNews: boolean) {
    let read = 0
    for await (const part of readStanding(scan)) {
      this.denials.learn(part, { isLogged: true, isNews })
      if (++read <= this.#standingRead) continue
      this.#standingRead = read
      this.#follower.progressAt = this.#clock.monotonic()
    }
  }

  async #read (complete: boolean) {
    const isNews = this.#follower.heardAt !== undefined
    const scan: Scan = {
      redis: this.#commands,
      keyPrefix: this.#keyPrefix,
      within: (call) => this.within(call),
      now: () => this.#time.latest
    }
    await this.#readStanding(scan, isNews)
    // One node loses log and keys together. On a cluster the log's node may lose what keys of other nodes
    // have.
    const withKeys = !complete || this.#commands.isApart
    if (withKeys) {
      for await (const part of scanDenylist(scan)) {
        this.denials.learn(part, { isLogged: false, isNews })
        this.#follower.progressAt = this.#clock.monotonic()
      }
    }
    this.#repair.ready(withKeys, this.#redis.generation)
    this.#standingRead = 0
    this.#lastFailure = undefined
    this.#complete()
    if (!isNews) this.#trim()
  }

  async #trim () {
    const parts = this.denials.copy.trim()
    while (!parts.next().done) await turn()
  }
}
