import { isOfOneKey, nonsense } from '../../errors.ts'
import type { Clock, Milliseconds, Seconds } from '../../time.ts'
import { EVERY_IAT, KINDS, LEAD, type Entry } from '../entry.ts'
import type { StoreContext, WriteOptions, Written } from '../store.ts'
import { isOfRedis } from './advice.ts'
import { longestOf, outlives, toAnswer, ttlArguments, writtenOf, type Answer } from './answers.ts'
import type { Command, Commands } from './commands.ts'
import { Connections, type Connection } from './connection.ts'
import { Held } from './held.ts'
import type { Keys } from './keys.ts'
import type { Link } from './link.ts'
import { toWords } from './log.ts'
import { Owed, type Attempt, type OwedWrite } from './owed.ts'
import { APPEND, CUT_OFF, KEEP_CUTOFF, NAME_STANDING, REVOKE } from './scripts.ts'
import { Told } from './told.ts'
import { commandsOf } from './topology.ts'

export interface WriterOptions {
  /** How long an entry of the log matters; null: for ever. */
  logSpan: Seconds | null
  /** How long a key is kept at most. A key that lost its TTL gets this one. Default: there is no bound. */
  longest?: Seconds | null
  /** How many replicas of Redis must hold a write before it counts. */
  minReplicas: number
  /** How many writes of unknown outcome, and how many told ones, are remembered. Default: 10,000 each. */
  most?: number
}

export interface WriterContext extends WriterOptions, Pick<StoreContext, 'clock' | 'onDisowned'> {
  connection: Connection
  keys: Keys
  link: Link
}

/** The script that writes an entry for a caller, and the script that puts a lost entry back. */
const SCRIPTS = {
  revoked: { ask: REVOKE, keep: REVOKE },
  cutoff: { ask: CUT_OFF, keep: KEEP_CUTOFF }
}

/** What a write does to what stands already, in the scripts' words. */
type Force = '' | 'key' | 'log'

/** Writes revocations and cutoffs: key and log at once on a node, one after the other on a cluster. */
export class Writer {
  readonly #redis: Commands
  readonly #connection: Connection
  readonly #connections: Connections
  readonly #keys: Keys
  readonly #logSpan: Seconds | null
  readonly #longest: Milliseconds | ''
  readonly #minReplicas: number
  /** Whether a write that fails may stand on one node alone. */
  readonly mayBreakOff: boolean
  readonly #held: Held
  readonly #clock: Clock
  readonly owed: Owed
  /** The errors of writes whose first command Redis took. */
  readonly #halfway = new WeakSet<object>()
  readonly #told: Told

  constructor (context: WriterContext) {
    const { connection, keys, link, logSpan, longest, minReplicas, clock, most = 10_000 } = context
    this.#connection = connection
    this.#redis = commandsOf({ client: connection.client })
    this.#connections = new Connections(this.#redis)
    this.#keys = keys
    this.#logSpan = logSpan
    this.#longest = longestOf(longest)
    this.#minReplicas = minReplicas
    this.mayBreakOff = this.#redis.isApart || minReplicas > 0
    this.#told = new Told(most)
    this.#held = new Held(this.#redis, {
      minReplicas,
      timeout: link.deadline.timeout,
      onTaken: (error) => this.#halfway.add(error)
    })
    this.#clock = clock
    this.owed = new Owed({
      clock,
      rewrite: (some) => this.#writeOwed(some),
      deadline: link.deadline,
      onDisowned: context.onDisowned ?? (() => {}),
      most,
      ...(minReplicas > 0 && { atOnce: 1 })
    })
  }

  async write (entry: Entry, options: WriteOptions): Promise<Written> {
    const before = this.#connections.now()
    const since = this.#told.count
    const written = await this.#asked(entry, options)
    const wasRenewed = !this.#connections.areStill(before)
    const first = this.#isOwn(entry, written, { owed: this.owed.of(entry), wasRenewed, since })
    this.owed.settle(written.standing)
    if (first) options.made?.(written.standing, false)
    return { ...written, first }
  }

  /** Writes again what Redis has lost, except keys that another program uses. @throws the first failure */
  async putBack (entries: Entry[]) {
    const outcomes = await this.#rewritten(entries)
    const failure = outcomes.find(({ error }) => error !== undefined && !isOfOneKey(error))
    if (failure !== undefined) throw failure.error
  }

  close () {
    this.owed.close()
  }

  /** Does what a revocation does, on a key of no token, for a second. It logs no entry: those would stay. */
  async probe () {
    await this.#connection.proof?.require()
    const now = this.#clock.wall()
    const key = this.#keys.of({ kind: 'revoked', name: '' })
    const ttl = ttlArguments(Math.ceil(now / 1000) + 1, now)
    await this.#held.run(['eval', REVOKE, 1, key, '{}', ...ttl, '', '', '', '', 'key'])
    await this.#redis.send(['xlen', this.#keys.log])
  }

  /**
   * Whether this process made what stands, in this attempt or an earlier one, and has told nobody. Remembers
   * that the caller will tell.
   */
  #isOwn (asked: Entry, written: Written, { owed, wasRenewed, since }: Attempt): boolean {
    const { standing, first, before } = written
    if (KINDS[asked.kind].rises) {
      const isMine = first || owed !== undefined || (wasRenewed && standing.at >= asked.at)
      return isMine && this.#told.isNews(standing, { isAnew: first && before === null, since })
    }
    const isMine = first || owed?.ats.has(standing.at) === true || (wasRenewed && standing.at === asked.at)
    return isMine && this.#told.isNews(standing, { isAnew: first, since })
  }

  /** Writes an entry for a caller. If that fails and the entry may stand, it is owed, and `made` follows. */
  async #asked (entry: Entry, { unlessFrom, made, mustStand }: WriteOptions): Promise<Written> {
    const { rises } = KINDS[entry.kind]
    const force: Force = this.owed.of(entry) !== undefined ? 'log' : this.#minReplicas > 0 ? 'key' : ''
    const more = rises ? [unlessFrom ?? '', Math.min(entry.at + LEAD, EVERY_IAT)] : []
    const connections = this.#connections.now()
    try {
      const command = this.#command(entry, SCRIPTS[entry.kind].ask, force)
      return writtenOf(entry, await this.#write([...command, ...more], entry), unlessFrom)
    } catch (error) {
      // Redis has not written what it refuses, unless the client sent it twice.
      const isRefused = isOfRedis(error) && this.#connections.areStill(connections) &&
        !this.#halfway.has(error)
      if (!isRefused || mustStand) {
        this.owed.add(entry, ({ standing }) => made?.(standing, false), mustStand)
      }
      throw error
    }
  }

  async #writeOwed (some: OwedWrite[]) {
    const since = this.#told.count
    const outcomes = await this.#rewritten(some.map(({ entry }) => entry))
    return outcomes.map(({ answer, error }, i) => {
      const isRefused = isOfOneKey(error) && !this.#halfway.has(error as Error)
      if (error !== undefined) return isRefused ? 'refused' : 'unknown'
      const owed = some[i]!
      const { entry, made } = owed
      // A retry, or an earlier rewrite whose answer was late, has already settled this write and told of it.
      if (this.owed.of(entry) !== owed) return 'acknowledged'
      try {
        const written = writtenOf(entry, answer!)
        // If another process made what stands, that process tells.
        const isOurs = this.#isOwn(entry, written, { owed, wasRenewed: false, since })
        this.owed.settle(entry)
        if (isOurs) made?.(written)
      } catch {
        // Nonsense acknowledges nothing.
        return 'unknown'
      }
      return 'acknowledged'
    })
  }

  async #rewritten (entries: Entry[]): Promise<Array<{ answer?: Answer, error?: unknown }>> {
    const commands = entries.map((entry) => this.#command(entry, SCRIPTS[entry.kind].keep, 'log'))
    if (this.mayBreakOff) {
      return Promise.all(entries.map((entry, i) => this.#write(commands[i]!, entry)
        .then((answer) => ({ answer }), (error: unknown) => ({ error }))))
    }
    const settled = await this.#redis.pipelined(commands)
      .catch((error: Error): Array<[Error]> => entries.map(() => [error]))
    return settled.map(([error, answer]) => {
      try {
        if (error) throw error
        return { answer: toAnswer(answer) }
      } catch (error) {
        return { error }
      }
    })
  }

  #command (entry: Entry, script: string, force: Force): Command {
    const { log, standing } = this.#keys
    const others = this.#redis.isApart ? [] : KINDS[entry.kind].rises ? [log, standing] : [log]
    const keys = [this.#keys.of(entry), ...others]
    const value = KINDS[entry.kind].value(entry)
    const ttl = ttlArguments(entry.until, this.#clock.wall())
    const logged = [...toWords(entry), this.#logSpan ?? '']
    return ['eval', script, keys.length, ...keys, value, ...ttl, this.#longest, ...logged, force]
  }

  #write (command: Command, entry: Entry): Promise<Answer> {
    return this.#proven(() => this.#writeBoth(command, entry))
  }

  /** Runs writes that concern no entry, in their order on one node. */
  writeAll (commands: Command[]): Promise<unknown[]> {
    return this.#proven(() => this.#held.runAll(commands))
  }

  #proven<T> (write: () => Promise<T>): Promise<T> {
    const { proof } = this.#connection
    return proof === undefined ? write() : proof.during(write)
  }

  async #writeBoth (command: Command, entry: Entry): Promise<Answer> {
    const answer = toAnswer(await this.#held.run(command))
    // A node may lose its data between the two writes.
    if (this.#redis.isApart && !await this.#append(entry, answer[2])) await this.#held.run(command)
    return answer
  }

  /** Appends to the log. Gives whether the key of the entry is still there. */
  async #append (entry: Entry, words: string): Promise<boolean> {
    const [, after] = toWords(entry)
    const { log, standing } = this.#keys
    const id = await this.#further(['eval', APPEND, 1, log, words, after, this.#logSpan ?? ''])
    const ends = words.slice(words.lastIndexOf(' ') + 1)
    if (KINDS[entry.kind].rises && outlives(ends, this.#logSpan, this.#clock.wall())) {
      await this.#further(['eval', NAME_STANDING, 1, standing, entry.name, ends])
    }
    if (typeof id !== 'string') throw nonsense('to an entry of the log')
    return await this.#redis.send(['exists', this.#keys.of(entry)]) === 1
  }

  /** Runs a further command of a write. */
  async #further (command: Command): Promise<unknown> {
    try {
      return await this.#held.run(command)
    } catch (error) {
      this.#halfway.add(error as Error)
      throw error
    }
  }
}
