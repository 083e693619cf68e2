import { isOfOneKey, nonsense } from '../../errors.ts'
import type { Clock, Milliseconds, Seconds } from '../../time.ts'
import { KINDS, LEAD, keyOf, type Entry } from '../entry.ts'
import type { StoreContext, WriteOptions, Written } from '../store.ts'
import { isOfRedis } from './advice.ts'
import { longestOf, toAnswer, ttlArguments, writtenOf, type Answer } from './answers.ts'
import type { Command, Commands } from './commands.ts'
import { Connections, type Connection } from './connection.ts'
import type { Keys } from './keys.ts'
import type { Link } from './link.ts'
import { toWords } from './log.ts'
import { Owed, type OwedWrite } from './owed.ts'
import { APPEND, CUT_OFF, KEEP_CUTOFF, REVOKE } from './scripts.ts'
import { commandsOf } from './topology.ts'

export interface WriterOptions {
  /** How long an entry of the log matters; null: for ever. */
  logSpan: Seconds | null
  /** How long anything is kept at most: a key without a TTL gets this one. Default: there is no such bound. */
  longest?: Seconds | null
  /** How many replicas of Redis must hold a write before it counts. */
  minReplicas: number
}

export interface WriterContext extends WriterOptions, Pick<StoreContext, 'clock' | 'onDisowned'> {
  connection: Connection
  keys: Keys
  link: Link
}

const MAX_TOLD = 10_000

/** By which script an entry is asked for, and by which one it is put back. */
const SCRIPTS = {
  revoked: { ask: REVOKE, keep: REVOKE },
  cutoff: { ask: CUT_OFF, keep: KEEP_CUTOFF }
}

/** How a write goes about what stands already: the scripts' own words. */
type Force = '' | 'key' | 'log'

/** Writes revocations and cutoffs, the key and the log: on one node at once, on a cluster one after the other. */
export class Writer {
  readonly #redis: Commands
  readonly #connection: Connection
  readonly #connections: Connections
  readonly #keys: Keys
  readonly #logSpan: Seconds | null
  readonly #longest: Milliseconds | ''
  readonly #minReplicas: number
  readonly #patience: Milliseconds
  readonly #clock: Clock
  readonly #owed: Owed
  /** Of writes of which a cluster took the first half. */
  readonly #halfway = new WeakSet<object>()
  /** Of the last that this process has told of, by key: the `at` of what stood. */
  readonly #told = new Map<string, Seconds>()

  constructor ({ connection, keys, link, logSpan, longest, minReplicas, clock, onDisowned = () => {} }: WriterContext) {
    this.#connection = connection
    this.#redis = commandsOf({ client: connection.client })
    this.#connections = new Connections(this.#redis)
    this.#keys = keys
    this.#logSpan = logSpan
    this.#longest = longestOf(longest)
    this.#minReplicas = minReplicas
    // Two waits are to end before the caller does.
    this.#patience = Math.max(Math.floor(link.deadline.timeout / 3), 1)
    this.#clock = clock
    this.#owed = new Owed({
      clock,
      rewrite: (some) => this.#writeOwed(some),
      deadline: link.deadline,
      onDisowned,
      ...(minReplicas > 0 && { atOnce: 1 })
    })
  }

  async write (entry: Entry, { unlessFrom, made }: WriteOptions): Promise<Written> {
    const before = this.#connections.now()
    const written = await this.#asked(entry, unlessFrom, made)
    const first = this.#isOwn(entry, written, this.#owed.of(entry), !this.#connections.areStill(before))
    this.#owed.settle(entry)
    if (first) made?.(written.standing, false)
    return { ...written, first }
  }

  /** Writes again what Redis has lost, as much of it as it takes, but for keys that are in somebody else's use. */
  async putBack (entries: Entry[]) {
    const failures = (await this.#rewritten(entries)).map(({ error }) => error).filter((error) => error !== undefined && !isOfOneKey(error))
    if (failures.length > 0) throw failures[0]
  }

  close () {
    this.#owed.close()
  }

  /** What a revocation does, on the key of no token, for a second; and without an entry, since those stay. */
  async probe () {
    await this.#connection.proof?.require()
    const soon = Math.ceil(this.#clock.wall() / 1000) + 1
    const key = this.#keys.of({ kind: 'revoked', name: '' })
    await this.#acknowledged(['eval', REVOKE, 1, key, '{}', ...ttlArguments(soon, this.#clock.wall()), '', '', '', '', 'key'])
    await this.#redis.send(['xlen', this.#keys.log])
  }

  /**
   * Whether this process made what stands, in this attempt or in one before it, and has told nobody. Remembers that it
   * will. `wasRenewed`: a client that sent the write again after its connection broke found what it had made itself.
   */
  #isOwn (asked: Entry, { standing, first }: Written, owed: OwedWrite | undefined, wasRenewed: boolean): boolean {
    if (KINDS[asked.kind].rises) {
      const isMine = first || owed !== undefined || (wasRenewed && standing.at >= asked.at)
      return isMine && this.#isNews(standing)
    }
    const isMine = first || owed?.ats.has(standing.at) === true || (wasRenewed && standing.at === asked.at)
    return isMine && (this.#isNews(standing) || first)
  }

  /** Whether nobody was told of what stands by this process, which remembers that it will. */
  #isNews (standing: Entry): boolean {
    const key = keyOf(standing)
    const isNews = this.#told.get(key) !== standing.at
    this.#told.delete(key)
    this.#told.set(key, standing.at)
    if (this.#told.size > MAX_TOLD) this.#told.delete(this.#told.keys().next().value!)
    return isNews
  }

  /** A failure, or nonsense, is owed where the entry may stand nevertheless: then `made` is told what stands in the end. */
  async #asked (entry: Entry, unlessFrom: Seconds | undefined, made: WriteOptions['made']): Promise<Written> {
    const { rises } = KINDS[entry.kind]
    const force: Force = this.#owed.of(entry) !== undefined ? 'log' : this.#minReplicas > 0 ? 'key' : ''
    const more = rises ? [unlessFrom ?? '', entry.at + LEAD] : []
    const connections = this.#connections.now()
    try {
      const answer = await this.#write([...this.#command(entry, SCRIPTS[entry.kind].ask, force), ...more], entry)
      return writtenOf(entry, answer, unlessFrom)
    } catch (error) {
      // What Redis refuses it has not written, unless it was sent twice.
      const isRefused = isOfRedis(error) && this.#connections.areStill(connections)
      if (!isRefused || this.#halfway.has(error)) this.#owed.add(entry, ({ standing }) => made?.(standing, false))
      throw error
    }
  }

  async #writeOwed (some: OwedWrite[]) {
    const outcomes = await this.#rewritten(some.map(({ entry }) => entry))
    return outcomes.map(({ answer, error }, i) => {
      if (error !== undefined) return isOfOneKey(error) && !this.#halfway.has(error as Error) ? 'refused' : 'unknown'
      const owed = some[i]!
      const { entry, made } = owed
      // A retry, or an earlier rewrite whose answer was late, has settled it, and told.
      if (this.#owed.of(entry) !== owed) return 'acknowledged'
      try {
        const written = writtenOf(entry, answer!)
        // Where another process made it, that one tells.
        const isOurs = this.#isOwn(entry, written, owed, false)
        this.#owed.settle(entry)
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
    if (this.#redis.isApart || this.#minReplicas > 0) {
      return Promise.all(entries.map((entry, i) => this.#write(commands[i]!, entry).then((answer) => ({ answer }), (error: unknown) => ({ error }))))
    }
    const settled = await this.#redis.pipelined(commands).catch((error: Error): Array<[Error]> => entries.map(() => [error]))
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
    const key = this.#keys.of(entry)
    const keys: [number, ...string[]] = this.#redis.isApart ? [1, key] : [2, key, this.#keys.log]
    const ttl = ttlArguments(entry.until, this.#clock.wall())
    return ['eval', script, ...keys, KINDS[entry.kind].value(entry), ...ttl, this.#longest, ...toWords(entry), this.#logSpan ?? '', force]
  }

  #write (command: Command, entry: Entry): Promise<Answer> {
    const write = () => this.#writeBoth(command, entry)
    const { proof } = this.#connection
    return proof === undefined ? write() : proof.during(write)
  }

  async #writeBoth (command: Command, entry: Entry): Promise<Answer> {
    const answer = toAnswer(await this.#acknowledged(command))
    // A node may lose its data between the two writes.
    if (this.#redis.isApart && !await this.#append(entry, answer[2])) await this.#acknowledged(command)
    return answer
  }

  /** Gives whether the key of the entry is still there. */
  async #append (entry: Entry, words: string): Promise<boolean> {
    const [, after] = toWords(entry)
    const id = await this.#acknowledged(['eval', APPEND, 1, this.#keys.log, words, after, this.#logSpan ?? '']).catch((error) => {
      this.#halfway.add(error)
      throw error
    })
    if (typeof id !== 'string') throw nonsense('to an entry of the log')
    return await this.#redis.send(['exists', this.#keys.of(entry)]) === 1
  }

  /** WAIT counts what its own connection wrote, on the node where that was: both go as one pipeline. */
  async #acknowledged (command: Command): Promise<unknown> {
    if (this.#minReplicas === 0) return (await this.#redis.all([command]))[0]
    const [[error, answer] = [null], [refusal, holders] = [null]] = await this.#redis.inStep([command, ['wait', this.#minReplicas, this.#patience]])
    if (error) throw error
    if (refusal) {
      // A write whose WAIT is refused stands.
      this.#halfway.add(refusal)
      throw refusal
    }
    if (Number(holders) >= this.#minReplicas) return answer
    throw new Error(`${Number(holders)} of the ${this.#minReplicas} replicas that option "minReplicas" asks for hold the write`)
  }
}
