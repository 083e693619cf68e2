import type { Milliseconds, Seconds } from '../../domain/retention.ts'
import { keysUnder } from '../../domain/names.ts'
import { cancel, every, monotonic, sleep, turn } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import type { Commands } from '../redis/commands.ts'
import { Denylist, type Note } from './denylist.ts'
import { Echoes } from './echoes.ts'
import { Follower, type LogClient } from './follower.ts'
import type { LogEntry } from './log.ts'
import { OtherData, ProvenCommands } from '../redis/proof.ts'
import { RedisTime } from './redis-time.ts'
import { RedisStore, type RedisStoreOptions } from '../redis/denials.ts'
import { scanDenylist } from './scan.ts'
import { SlotsMove } from './slots.ts'
import type { CheckCallback, CutoffOptions, Denial, NewDenial, StoreContext, WriteOptions } from '../store.ts'
import type { WritingClient } from '../redis/writer.ts'

export interface ReplicaOptions extends RedisStoreOptions {
  maxStaleness: Milliseconds
}

const MAX_BLOCK: Milliseconds = 1000
/** How long a start waits for a long log, within Fastify's pluginTimeout. Until it is read, checks ask Redis. */
const MAX_START: Milliseconds = 5000
const TICK: Milliseconds = 250
/** Parts of the denylist, so that a million entries are looked at every minute. */
const SWEPT_AT_ONCE = 4
/** Many processes notice a loss at once. Each waits a part of this, and skips what others have put back by then. */
const PUT_BACK_SPREAD: Milliseconds = 500
const PUT_BACK_BATCH = 100

/** A store on Redis whose checks look into a copy of the denylist in this process, as long as that is not stale. */
export class ReplicaStore extends RedisStore {
  readonly denylist: Denylist
  readonly #time = new RedisTime()
  readonly #maxStaleness: Milliseconds
  readonly #keyPrefix: string
  readonly #context: StoreContext
  readonly #log: LogClient
  readonly #redis: Commands
  readonly #follower: Follower
  readonly #ticker: NodeJS.Timeout
  #started = monotonic()
  #complete!: () => void
  readonly #whenComplete = new Promise<void>((resolve) => { this.#complete = resolve })
  #lastFailure: unknown
  readonly #echoes: Echoes
  #suspect = false
  #unmarked = false
  /** What is unmarked is to be put back. */
  #owes = false
  #puttingBack = false
  #closed = false

  constructor (client: RedisClient, log: LogClient, options: ReplicaOptions, context: StoreContext, writing?: WritingClient) {
    super(client, options, context, writing)
    this.#maxStaleness = options.maxStaleness
    this.#keyPrefix = options.keyPrefix
    this.#context = context
    // Redis' clock decides. A process that is behind accepts tokens for longer, and so remembers for longer.
    this.denylist = new Denylist(() => Math.min(this.#time.earliest, context.clock()) / 1000)
    this.#log = log
    this.#redis = new ProvenCommands(log)
    this.#echoes = new Echoes(this.denylist, context)
    this.#follower = new Follower(this.#redis, {
      key: keysUnder(options.keyPrefix).log,
      // Silence is heard several times before it counts.
      block: Math.min(Math.ceil(options.maxStaleness / 4), MAX_BLOCK),
      storeTimeout: options.storeTimeout,
      span: options.logSpan,
      isCluster: log.client.isCluster
    }, {
      time: this.#time,
      onEntries: (entries, news) => this.#learn(entries, news),
      onBroken: () => this.#unmark(),
      onRead: (complete) => this.#read(complete),
      onFailed: (error) => this.#failed(error),
      reconnect: log.reconnect
    })
    // Back is who is in step again, whatever it was that failed.
    this.health.need(this.#canFollow)
    this.#ticker = every(() => this.#tick(), TICK).unref()
  }

  get copy () {
    return { entries: this.denylist.size, stalenessMs: this.#follower.heardAt && monotonic() - this.#follower.heardAt }
  }

  /** The process that revokes knows at once. */
  override revoke (identity: string, denial: NewDenial, keptUntil: Seconds | null, { made: tell, ...options }: WriteOptions<Denial> = {}) {
    const until = this.#time.endOf(keptUntil, this.#context.clock())
    const entryOf = ({ at, exp }: Denial): LogEntry => ({ kind: 'revoked', name: identity, ...denial, at, exp, until })
    return this.#echoes.during(entryOf(denial), entryOf, tell, async (made) => {
      const standing = await super.revoke(identity, denial, keptUntil, { ...options, made })
      return [standing, standing]
    })
  }

  override cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null, { made: tell, ...options }: CutoffOptions = {}) {
    const until = this.#time.endOf(keptUntil, this.#context.clock())
    const entryOf = (at: Seconds): LogEntry => ({ kind: 'cutoff', name: subject, at, exp: null, until: until && until + Math.max(at - cutoff, 0) })
    return this.#echoes.during(entryOf(cutoff), entryOf, tell, async (made) => {
      const standing = await super.cutOff(subject, cutoff, keptUntil, { ...options, made })
      return [standing, standing.cutoff]
    })
  }

  override async start () {
    this.#started = monotonic()
    this.#follower.run()
    await super.start()
    if (!this.available) return
    await this.#isProven().catch((error) => this.health.failed(error, this.#isProven))
    const patience = new AbortController()
    await Promise.race([this.#whenComplete, sleep(MAX_START, undefined, { signal: patience.signal })])
    patience.abort()
  }

  override close () {
    this.#closed = true
    this.#complete()
    cancel(this.#ticker)
    this.#follower.close()
    super.close()
  }

  override check (identity: string | undefined, subject: string | undefined, done: CheckCallback, note?: Note) {
    const known = this.denylist.knows(identity, subject, note)
    const revoked = known && identity !== undefined && this.denylist.isDenied(identity)
    const cutoff = known && subject !== undefined ? this.denylist.cutoffOf(subject) : null
    // What is known to be revoked stays so, however old that is.
    if (revoked || !this.#isStale()) return done(null, revoked, cutoff)
    this.checkInRedis(identity, subject, (error, revoked, inRedis) => {
      done(error, revoked, cutoff === null || inRedis === null ? cutoff ?? inRedis : Math.max(cutoff, inRedis))
    })
  }

  /** Redis may have lost what this process knows, and the log what is under a key. */
  override checkShared (identity: string | undefined, subject: string | undefined, done: CheckCallback) {
    const isDenied = identity !== undefined && this.denylist.isDenied(identity)
    const cutoff = subject === undefined ? null : this.denylist.cutoffOf(subject)
    this.checkInRedis(identity, subject, (error, revoked, inRedis) => {
      done(error, revoked && isDenied, cutoff === null || inRedis === null ? null : Math.min(cutoff, inRedis))
    })
  }

  #isStale (): boolean {
    const { heardAt } = this.#follower
    return heardAt === undefined || monotonic() - heardAt > this.#maxStaleness
  }

  /** A long log takes its time, and is no loss. */
  #isSilent (limit: Milliseconds): boolean {
    const { progressAt = this.#started } = this.#follower
    return monotonic() - progressAt > limit
  }

  readonly #isProven = () => this.within(async () => this.#log.proof?.require())

  /** Half: one answer, of a connection that is stuck again, brings the store back only to lose it at once. */
  readonly #canFollow = async () => {
    if (this.#isSilent(this.#maxStaleness / 2)) throw new Error(`Redis' log was not heard of for ${this.#maxStaleness} ms`, { cause: this.#lastFailure })
  }

  #tick () {
    for (let part = 0; part < SWEPT_AT_ONCE; part++) this.denylist.sweep()
    if (this.#owes && !this.#puttingBack && !this.#isStale()) this.#putBackMissing()
    // Twice: after a stall of the event loop the answer still lies in the socket.
    const isSuspect = this.available && this.#isSilent(this.#maxStaleness)
    if (isSuspect && this.#suspect) this.#canFollow().catch((error) => this.health.failed(error, this.#canFollow))
    this.#suspect = isSuspect
  }

  #learn (entries: LogEntry[], news: boolean) {
    for (const entry of entries) this.#add(entry, true, news)
  }

  #add (entry: LogEntry, marked: boolean, news: boolean) {
    if (!this.denylist.add(entry, marked) || !news) return
    this.#context.onLearned?.()
    this.#echoes.hear(entry)
  }

  #failed (error: unknown) {
    if (error instanceof OtherData) this.health.failed(error, this.#isProven)
    if (error instanceof SlotsMove) {
      // The store is not lost: Redis answers, and each check asks it.
      this.#follower.progressAt = monotonic()
      if (!(this.#lastFailure instanceof SlotsMove)) this.#context.onWarning?.(`each check asks Redis as long as this holds: ${error.message}`)
    }
    this.#lastFailure = error
  }

  async #unmark () {
    this.forgotten()
    this.#unmarked = true
    const parts = this.denylist.unmark()
    while (!parts.next().done) await turn()
  }

  async #read (complete: boolean) {
    // One node loses its log and its keys together. On a cluster the keys of other nodes know what the log's has lost.
    const needsKeys = !complete || this.#log.client.isCluster
    if (needsKeys) {
      const entries = scanDenylist(this.#log.client, this.#redis, this.#keyPrefix, (call) => this.within(call), () => this.#time.latest)
      const news = this.#follower.heardAt !== undefined
      for await (const part of entries) {
        for (const entry of part) this.#add(entry, false, news)
        this.#follower.progressAt = monotonic()
      }
    }
    if (this.#unmarked || needsKeys) this.#owes = true
    this.#unmarked = false
    this.#lastFailure = undefined
    this.#complete()
  }

  /** Writes what this process knows and the log does not. What it has written it will read there. */
  async #putBackMissing () {
    this.#puttingBack = true
    await sleep(Math.random() * PUT_BACK_SPREAD, undefined, { ref: false })
    this.#owes = false
    for (const part of this.denylist.entries(true)) {
      await turn()
      // Others begin elsewhere.
      const first = Math.floor(Math.random() * part.length)
      const entries = [...part.slice(first), ...part.slice(0, first)]
      for (let i = 0; i < entries.length && !this.#closed; i += PUT_BACK_BATCH) {
        const missing = entries.slice(i, i + PUT_BACK_BATCH).filter((entry) => !this.denylist.isMarked(entry))
        try {
          if (missing.length > 0) await this.putBack(missing)
        } catch {
          // The next tick tries again.
          this.#owes = true
        }
      }
    }
    this.#puttingBack = false
  }
}
