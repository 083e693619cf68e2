import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds } from '../expiry.ts'
import { keysUnder } from '../keys.ts'
import type { RedisClient } from '../types.ts'
import { Commands } from './commands.ts'
import { Denylist, type DenylistEntry } from './denylist.ts'
import { Follower } from './follower.ts'
import type { LogEntry } from './log.ts'
import { RedisStore, type RedisStoreOptions } from './redis.ts'
import { scanDenylist } from './scan.ts'
import type { CheckCallback, StoreContext } from './store.ts'
import { parseDenial } from './values.ts'

export interface ReplicaOptions extends RedisStoreOptions {
  maxStaleness: Milliseconds
}

/** A connection for the log alone, and how to leave it for a new one. */
export interface LogClient {
  client: RedisClient
  reconnect: () => void
}

const MAX_BLOCK: Milliseconds = 1000
/** How long a start waits for a long log, within Fastify's pluginTimeout. Until it is read, checks ask Redis. */
const MAX_START: Milliseconds = 5000
const TICK: Milliseconds = 250
/** Many processes notice a loss at once. Each waits a part of this, and skips what others have put back by then. */
const PUT_BACK_SPREAD: Milliseconds = 500
const PUT_BACK_BATCH = 100

/** A store on Redis whose checks look into a copy of the denylist in this process, as long as that is not stale. */
export class ReplicaStore extends RedisStore {
  readonly denylist: Denylist
  readonly #clock: () => Milliseconds
  readonly #maxStaleness: Milliseconds
  readonly #keyPrefix: string
  readonly #context: StoreContext
  readonly #log: { client: RedisClient, redis: Commands }
  readonly #follower: Follower
  readonly #ticker: NodeJS.Timeout
  #started = performance.now()
  #complete: () => void = () => {}
  readonly #whenComplete = new Promise<void>((resolve) => { this.#complete = resolve })
  #lastFailure: unknown
  #unmarked = false
  /** What is unmarked is to be put back. */
  #owes = false
  #puttingBack = false
  #closed = false

  constructor (client: RedisClient, log: LogClient, options: ReplicaOptions, context: StoreContext, writing = client) {
    // Known here before the log brings it, which is then no news.
    super(client, options, context, writing, (entry) => { this.denylist.add(entry, false) })
    this.#clock = context.clock
    this.#maxStaleness = options.maxStaleness
    this.#keyPrefix = options.keyPrefix
    this.#context = context
    this.denylist = new Denylist(() => context.clock() / 1000)
    this.#log = { client: log.client, redis: new Commands(log.client) }
    this.#follower = new Follower(this.#log.redis, {
      key: keysUnder(options.keyPrefix).log,
      // Silence is heard several times before it counts.
      block: Math.min(Math.ceil(options.maxStaleness / 4), MAX_BLOCK),
      storeTimeout: options.storeTimeout,
      span: options.logSpan
    }, {
      clock: context.clock,
      onEntries: (entries, news) => this.#learn(entries, news),
      onBroken: () => this.#unmark(),
      onRead: (complete) => this.#read(complete),
      onFailed: (error) => { this.#lastFailure = error },
      reconnect: log.reconnect
    })
    this.#ticker = setInterval(() => this.#tick(), TICK).unref()
  }

  get copy () {
    return { entries: this.denylist.size, stalenessMs: this.#follower.heardAt && performance.now() - this.#follower.heardAt }
  }

  override async start () {
    this.#started = performance.now()
    this.#follower.run()
    await super.start()
    if (!this.available) return
    const patience = new AbortController()
    await Promise.race([this.#whenComplete, sleep(MAX_START, undefined, { signal: patience.signal })])
    patience.abort()
  }

  override close () {
    this.#closed = true
    clearInterval(this.#ticker)
    this.#follower.close()
    super.close()
  }

  override check (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
    const revoked = identity !== undefined && this.denylist.isDenied(identity)
    const cutoff = subject === undefined ? null : this.denylist.cutoffOf(subject)
    // What is known to be revoked stays so, however old that is.
    if (revoked || !this.#isStale()) return done(null, revoked, cutoff)
    super.check(identity, subject, (error, revoked, inRedis) => {
      done(error, revoked, cutoff === null || inRedis === null ? cutoff ?? inRedis : Math.max(cutoff, inRedis))
    })
  }

  #isStale (): boolean {
    const { heardAt } = this.#follower
    return heardAt === undefined || performance.now() - heardAt > this.#maxStaleness
  }

  /** A long log takes its time. */
  readonly #canFollow = async () => {
    const { progressAt = this.#started } = this.#follower
    if (performance.now() - progressAt > this.#maxStaleness) throw new Error(`Redis' log was not heard of for ${this.#maxStaleness} ms`, { cause: this.#lastFailure })
  }

  #tick () {
    this.denylist.sweep()
    if (this.#owes && !this.#puttingBack && !this.#isStale()) this.#putBackMissing()
    if (this.available) this.#canFollow().catch((error) => this.health.failed(error, this.#canFollow))
  }

  #learn (entries: LogEntry[], news: boolean) {
    for (const entry of entries) this.#add(entry, true, news)
  }

  #add (entry: LogEntry, marked: boolean, news: boolean) {
    if (this.denylist.add(entry, marked) && news) this.#context.onHeard?.(entry)
  }

  async #unmark () {
    this.#unmarked = true
    const parts = this.denylist.unmark()
    while (!parts.next().done) await turn()
  }

  async #read (complete: boolean) {
    if (!complete) {
      const entries = scanDenylist(this.#log.client, this.#log.redis, this.#keyPrefix, (kind, name, value, left) => this.#parse(kind, name, value, left))
      const news = this.#follower.heardAt !== undefined
      for await (const part of entries) for (const entry of part) this.#add(entry, false, news)
    }
    if (this.#unmarked || !complete) this.#owes = true
    this.#unmarked = false
    this.#complete()
  }

  #parse (kind: DenylistEntry['kind'], name: string, value: unknown, left: number): DenylistEntry | null {
    if (typeof value !== 'string' || left < -1) return null
    const now = this.#clock() / 1000
    const until = left < 0 ? null : Math.round(now + left / 1000)
    const { at, exp } = kind === 'cutoff' ? { at: Number(value), exp: null } : parseDenial(value) ?? { at: now, exp: null }
    return Number.isFinite(at) ? { kind, name, at, exp, until } : null
  }

  /** Writes what this process knows and the log does not. What it has written it will read there. */
  async #putBackMissing () {
    this.#puttingBack = true
    try {
      await sleep(Math.random() * PUT_BACK_SPREAD, undefined, { ref: false })
      this.#owes = false
      for (const part of this.denylist.entries(true)) {
        for (let i = 0; i < part.length && !this.#closed; i += PUT_BACK_BATCH) {
          const missing = part.slice(i, i + PUT_BACK_BATCH).filter((entry) => !this.denylist.isMarked(entry))
          if (missing.length > 0) await this.putBack(missing)
        }
      }
    } catch {
      // The next tick tries again.
      this.#owes = true
    } finally {
      this.#puttingBack = false
    }
  }
}
