import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds, Seconds } from '../expiry.ts'
import { keysUnder } from '../keys.ts'
import type { RedisClient } from '../types.ts'
import { Commands, type Command } from './commands.ts'
import { Denylist, type Note } from './denylist.ts'
import { Follower } from './follower.ts'
import type { LogEntry } from './log.ts'
import { OtherData, type Proof } from './proof.ts'
import { RedisStore, type RedisStoreOptions } from './redis.ts'
import { scanDenylist } from './scan.ts'
import type { CheckCallback, CutoffOptions, Denial, NewDenial, StoreContext, WriteOptions } from './store.ts'
import type { WritingClient } from './writer.ts'

export interface ReplicaOptions extends RedisStoreOptions {
  maxStaleness: Milliseconds
}

/** A connection for the log alone, and how to leave it for a new one. */
export interface LogClient {
  client: RedisClient
  reconnect: () => void
  /** That it sees what the other connections write. */
  proof?: Proof
}

/** Commands whose answers count only where their connection is proven. */
class ProvenCommands extends Commands {
  readonly #proof: Proof | undefined

  constructor ({ client, proof }: LogClient) {
    super(client)
    this.#proof = proof
  }

  override async together (commands: Command[]) {
    const answers = await super.together(commands)
    await this.#proof?.require()
    return answers
  }
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
const MAX_UNSURE = 10_000

/** A store on Redis whose checks look into a copy of the denylist in this process, as long as that is not stale. */
export class ReplicaStore extends RedisStore {
  readonly denylist: Denylist
  readonly #clock: () => Milliseconds
  readonly #maxStaleness: Milliseconds
  readonly #keyPrefix: string
  readonly #context: StoreContext
  readonly #log: LogClient
  readonly #redis: Commands
  readonly #follower: Follower
  readonly #ticker: NodeJS.Timeout
  #started = performance.now()
  #complete!: () => void
  readonly #whenComplete = new Promise<void>((resolve) => { this.#complete = resolve })
  #lastFailure: unknown
  /** What this process is writing, how often at once; and what the log brought of it meanwhile. */
  readonly #writing = new Map<string, number>()
  readonly #heardMeanwhile = new Map<string, LogEntry[]>()
  /** What this process may have written, in a call that has failed; and the moments of what was told of it since. */
  readonly #unsure = new Map<string, Set<Seconds>>()
  #suspect = false
  #unmarked = false
  /** What is unmarked is to be put back. */
  #owes = false
  #puttingBack = false
  #closed = false

  constructor (client: RedisClient, log: LogClient, options: ReplicaOptions, context: StoreContext, writing?: WritingClient) {
    super(client, options, context, writing)
    this.#clock = context.clock
    this.#maxStaleness = options.maxStaleness
    this.#keyPrefix = options.keyPrefix
    this.#context = context
    const startedAt = context.clock() - performance.now()
    // A clock that jumps ahead must not make it forget: when it is right again, tokens live that were revoked.
    this.denylist = new Denylist(() => Math.min(context.clock(), startedAt + performance.now()) / 1000)
    this.#log = log
    this.#redis = new ProvenCommands(log)
    this.#follower = new Follower(this.#redis, {
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
      onFailed: (error) => {
        this.#lastFailure = error
        if (error instanceof OtherData) this.health.failed(error, this.#isProven)
      },
      reconnect: log.reconnect
    })
    // Back is who is in step again, whatever it was that failed.
    this.health.need(this.#canFollow)
    this.#ticker = setInterval(() => this.#tick(), TICK).unref()
  }

  get copy () {
    return { entries: this.denylist.size, stalenessMs: this.#follower.heardAt && performance.now() - this.#follower.heardAt }
  }

  /** The process that revokes knows at once. */
  override revoke (identity: string, denial: NewDenial, keptUntil: Seconds | null, { made: tell, ...options }: WriteOptions<Denial> = {}) {
    const entryOf = ({ at, exp }: Denial): LogEntry => ({ kind: 'revoked', name: identity, ...denial, at, exp, until: keptUntil })
    return this.#own(entryOf(denial), entryOf, tell, async (made) => {
      const standing = await super.revoke(identity, denial, keptUntil, { ...options, made })
      return [standing, standing]
    })
  }

  override cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null, { made: tell, ...options }: CutoffOptions = {}) {
    const entryOf = (at: Seconds): LogEntry =>
      ({ kind: 'cutoff', name: subject, at, exp: null, until: keptUntil && keptUntil + Math.max(at - cutoff, 0) })
    return this.#own(entryOf(cutoff), entryOf, tell, async (made) => {
      const standing = await super.cutOff(subject, cutoff, keptUntil, { ...options, made })
      return [standing, standing.cutoff]
    })
  }

  /**
   * The log may bring what this process writes before the answer does. Who asked is told by the answer, if that says it
   * was the first; what others wrote under that name meanwhile is told afterwards.
   */
  async #own<S, A> (
    asked: LogEntry, entryOf: (standing: S) => LogEntry, tell: WriteOptions<S>['made'],
    write: (made: (standing: S) => void) => Promise<[answer: A, standing: S]>
  ): Promise<A> {
    const key = keyOf(asked)
    this.#writing.set(key, (this.#writing.get(key) ?? 0) + 1)
    let own: LogEntry | undefined
    let hasFailed = false
    const made = (standing: S) => {
      own = entryOf(standing)
      this.denylist.add(own, false)
      const isHeard = hasFailed && this.#unsure.get(key)?.has(own.at) === true
      if (hasFailed) this.#unsure.delete(key)
      tell?.(standing, isHeard)
    }
    try {
      const [answer, standing] = await write(made)
      const entry = entryOf(standing)
      if (this.denylist.add(entry, false) && own === undefined) this.#tell(key, entry)
      return answer
    } catch (error) {
      hasFailed = true
      if (own === undefined) this.#beUnsure(key)
      throw error
    } finally {
      const left = this.#writing.get(key)! - 1
      // A token is revoked for the first time once; a cutoff is raised by whoever asks.
      const others = this.#heardMeanwhile.get(key)?.filter(({ kind, at }) => own === undefined || (kind === 'cutoff' && at !== own.at)) ?? []
      if (left > 0) {
        this.#writing.set(key, left)
        this.#heardMeanwhile.set(key, others)
      } else {
        this.#writing.delete(key)
        this.#heardMeanwhile.delete(key)
        for (const heard of others) this.#tell(key, heard)
      }
    }
  }

  #beUnsure (key: string) {
    this.#unsure.set(key, this.#unsure.get(key) ?? new Set())
    if (this.#unsure.size > MAX_UNSURE) this.#unsure.delete(this.#unsure.keys().next().value!)
  }

  #tell (key: string, entry: LogEntry) {
    this.#unsure.get(key)?.add(entry.at)
    this.#context.onHeard?.(entry)
  }

  override async start () {
    this.#started = performance.now()
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
    clearInterval(this.#ticker)
    this.#follower.close()
    super.close()
  }

  override check (identity: string | undefined, subject: string | undefined, done: CheckCallback, note?: Note) {
    const known = this.denylist.knows(identity, subject, note)
    const revoked = known && identity !== undefined && this.denylist.isDenied(identity)
    const cutoff = known && subject !== undefined ? this.denylist.cutoffOf(subject) : null
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

  /** A long log takes its time, and is no loss. */
  #isSilent (limit: Milliseconds): boolean {
    const { progressAt = this.#started } = this.#follower
    return performance.now() - progressAt > limit
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
    const key = keyOf(entry)
    if (this.#writing.has(key)) this.#heardMeanwhile.set(key, [...this.#heardMeanwhile.get(key) ?? [], entry])
    else this.#tell(key, entry)
  }

  async #unmark () {
    this.forgotten()
    this.#unmarked = true
    const parts = this.denylist.unmark()
    while (!parts.next().done) await turn()
  }

  async #read (complete: boolean) {
    if (!complete) {
      const entries = scanDenylist(this.#log.client, this.#redis, this.#keyPrefix, (call) => this.within(call), this.#clock)
      const news = this.#follower.heardAt !== undefined
      for await (const part of entries) for (const entry of part) this.#add(entry, false, news)
    }
    if (this.#unmarked || !complete) this.#owes = true
    this.#unmarked = false
    this.#complete()
  }

  /** Writes what this process knows and the log does not. What it has written it will read there. */
  async #putBackMissing () {
    this.#puttingBack = true
    await sleep(Math.random() * PUT_BACK_SPREAD, undefined, { ref: false })
    this.#owes = false
    for (const part of this.denylist.entries(true)) {
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

function keyOf ({ kind, name }: LogEntry): string {
  return `${kind}:${name}`
}
