import { LEAD, type Milliseconds, type Seconds } from '../../domain/retention.ts'
import type { Keys } from '../../domain/names.ts'
import type { RedisClient } from '../../types.ts'
import { isOfRedis } from './advice.ts'
import { cutoffOf, isAnswer, lasting, longestOf, nonsense, standingOf, type Cutoff } from './answers.ts'
import { Commands, type Command, type Settled } from './commands.ts'
import { Connections } from './connections.ts'
import { Deadline, isOfOneKey } from './deadline.ts'
import { toWords, type LogEntry } from '../replica/log.ts'
import { Owed, type OwedWrite } from './owed.ts'
import type { Proof } from './proof.ts'
import { APPEND, CUT_OFF, KEEP_CUTOFF, REVOKE } from './scripts.ts'
import type { CutoffOptions, Denial, NewDenial, StoreContext, WriteOptions } from '../store.ts'

export interface WriterOptions {
  storeTimeout: Milliseconds
  /** How long an entry of the log matters; null: for ever. */
  logSpan: Seconds | null
  /** How long anything is kept at most: a key without a TTL gets this one. Default: there is no such bound. */
  longest?: Seconds | null
  /** How many replicas of Redis must hold a write before it counts. */
  minReplicas: number
}

/** The connection that writes. */
export interface WritingClient {
  client: RedisClient
  /** That it sees the data of the connection that checks, where it is another one. */
  proof?: Proof
  /** Leaves the connection for a new one, where it is ours to leave. */
  reconnect?: () => void
}

const MAX_TOLD = 10_000

/** How a write goes about what stands already: the scripts' own words. */
type Force = '' | 'key' | 'log'

/** Writes revocations, the key and the log: on one node at once, on a cluster one after the other. */
export class Writer {
  readonly #redis: Commands
  readonly #proof: Proof | undefined
  readonly #connections: Connections
  readonly #keys: Keys
  readonly #logSpan: Seconds | null
  readonly #longest: Milliseconds | ''
  readonly #minReplicas: number
  readonly #patience: Milliseconds
  readonly #clock: () => Milliseconds
  readonly #owed: Owed
  /** Of writes of which a cluster took the first half. */
  readonly #halfway = new WeakSet<object>()
  /** Of the last that this process has told of: when each was revoked, or its cutoff. */
  readonly #told = new Map<string, Seconds>()

  constructor (
    { client, proof }: WritingClient, { keys, storeTimeout, logSpan, longest, minReplicas }: WriterOptions & { keys: Keys },
    { clock, onDisowned = () => {} }: Pick<StoreContext, 'clock' | 'onDisowned'>
  ) {
    this.#redis = new Commands(client)
    this.#proof = proof
    this.#connections = new Connections(client)
    this.#keys = keys
    this.#logSpan = logSpan
    this.#longest = longestOf(longest)
    this.#minReplicas = minReplicas
    // Two waits are to end before the caller does.
    this.#patience = Math.max(Math.floor(storeTimeout / 3), 1)
    this.#clock = clock
    this.#owed = new Owed((some) => this.#writeOwed(some), new Deadline(storeTimeout), onDisowned, minReplicas > 0 ? 1 : undefined)
  }

  async deny (identity: string, { id, sub, ...denial }: NewDenial, keptUntil: Seconds | null, made?: WriteOptions<Denial>['made']): Promise<Denial & { first: boolean }> {
    const entry: LogEntry = { kind: 'revoked', name: identity, ...denial, until: keptUntil, ...(id && { id }), ...(sub && { sub }) }
    const connections = this.#connections.now()
    const read = (answer: unknown[]) => ({ answer, standing: standingOf(answer, denial) })
    const { answer, standing } = await this.#written(entry, REVOKE, [], read, (answer) => made?.(standingOf(answer, denial), false))
    const ats = new Set(this.#owed.of(entry)?.ats)
    // A client that sent it again after its connection broke found what it had made itself.
    if (!this.#connections.areStill(connections)) ats.add(denial.at)
    const first = this.#isOwn(identity, answer, standing, ats)
    this.#owed.settle(entry)
    if (first) made?.(standing, false)
    return { ...standing, first }
  }

  /** Whether this process made what stands, in an attempt at one of these moments, and has told nobody. Remembers that it will. */
  #isOwn (identity: string, answer: unknown[], { at }: Denial, ats: ReadonlySet<Seconds>): boolean {
    const isFirst = Number(answer[0]) === 1
    return (isFirst || ats.has(at)) && (this.#isNews('revoked', identity, at) || isFirst)
  }

  /** Whether nobody was told of what stands by this process, which remembers that it will. */
  #isNews (kind: LogEntry['kind'], name: string, at: Seconds): boolean {
    const key = `${kind}:${name}`
    const isNews = this.#told.get(key) !== at
    this.#told.delete(key)
    this.#told.set(key, at)
    if (this.#told.size > MAX_TOLD) this.#told.delete(this.#told.keys().next().value!)
    return isNews
  }

  async cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null, { enough, made }: CutoffOptions): Promise<Cutoff> {
    const entry: LogEntry = { kind: 'cutoff', name: subject, at: cutoff, exp: null, until: keptUntil }
    const read = (answer: unknown[]) => {
      const standing = cutoffOf(answer)
      // Lower than what was asked for: nothing that the script gives.
      if (!(standing.cutoff >= Math.min(cutoff, enough ?? cutoff))) throw new TypeError('Redis answered nonsense to a cutoff')
      return standing
    }
    const connections = this.#connections.now()
    const standing = await this.#written(entry, CUT_OFF, [enough ?? '', cutoff + LEAD], read, (answer) => made?.(cutoffOf(answer).cutoff, false))
    // As above: what was sent again, or is owed, may be what this process made itself.
    const isOwn = standing.cutoff !== standing.before || this.#owed.of(entry) !== undefined ||
      (standing.cutoff >= cutoff && !this.#connections.areStill(connections))
    this.#owed.settle(entry)
    // What was written again may have been answered first, and told.
    if (isOwn && this.#isNews('cutoff', subject, standing.cutoff)) made?.(standing.cutoff, false)
    return standing
  }

  /** Writes again what Redis has lost, as much of it as it takes, but for keys that are in somebody else's use. */
  async putBack (entries: LogEntry[]) {
    const failures = (await this.#rewritten(entries)).map(({ error }) => error).filter((error) => error !== undefined && !isOfOneKey(error))
    if (failures.length > 0) throw failures[0]
  }

  close () {
    this.#owed.close()
  }

  /** What a revocation does, on the key of no token, for a second; and without an entry, since those stay. */
  async probe () {
    await this.#proof?.require()
    const soon = Math.ceil(this.#clock() / 1000) + 1
    await this.#held(['eval', REVOKE, 1, this.#keys.revoked(''), '{}', ...lasting(soon, this.#clock()), '', '', '', '', 'key'])
    await this.#redis.send(['xlen', this.#keys.log])
  }

  /** A failure, or nonsense, is owed where the revocation may stand all the same: then `madeLate` is told what stands in the end. */
  async #written<T> (entry: LogEntry, script: string, more: Array<string | number>, read: (answer: unknown[]) => T, madeLate: (answer: unknown) => void): Promise<T> {
    const force: Force = this.#owed.of(entry) !== undefined ? 'log' : this.#minReplicas > 0 ? 'key' : ''
    const connections = this.#connections.now()
    try {
      return read(await this.#write([...this.#command(entry, script, force), ...more], entry))
    } catch (error) {
      // What Redis refuses it has not written, unless it was sent twice.
      const isRefused = isOfRedis(error) && this.#connections.areStill(connections)
      if (!isRefused || this.#halfway.has(error)) this.#owed.add(entry, madeLate)
      throw error
    }
  }

  async #writeOwed (some: OwedWrite[]) {
    const outcomes = await this.#rewritten(some.map(({ entry }) => entry))
    return outcomes.map(({ answer, error }, i) => {
      if (error !== undefined) return isOfOneKey(error) && !this.#halfway.has(error as Error) ? 'refused' : 'unknown'
      const { entry, ats, made } = some[i]!
      // A retry, or an earlier rewrite whose answer was late, has settled it, and told.
      if (this.#owed.of(entry) !== some[i]) return 'acknowledged'
      try {
        // Where another process made it, that one tells.
        const isOurs = entry.kind === 'cutoff'
          ? this.#isNews('cutoff', entry.name, cutoffOf(answer!).cutoff)
          : this.#isOwn(entry.name, answer!, standingOf(answer!, entry), ats)
        this.#owed.settle(entry)
        if (isOurs) made?.(answer)
      } catch {
        // Nonsense acknowledges nothing.
        return 'unknown'
      }
      return 'acknowledged'
    })
  }

  async #rewritten (entries: LogEntry[]): Promise<Array<{ answer?: unknown[], error?: unknown }>> {
    const commands = entries.map((entry) => this.#command(entry, entry.kind === 'revoked' ? REVOKE : KEEP_CUTOFF, 'log'))
    if (!this.#redis.isCluster && this.#minReplicas === 0) {
      const answers = await this.#redis.pipelined(commands).catch((error: Error): Array<[Error]> => entries.map(() => [error]))
      return answers.map(([error, answer]) => error || !isAnswer(answer) ? { error: error ?? nonsense() } : { answer })
    }
    return Promise.all(entries.map((entry, i) => this.#write(commands[i]!, entry).then((answer) => ({ answer }), (error: unknown) => ({ error }))))
  }

  /** On one node the key and the log at once. */
  #command ({ kind, name, at, exp, until, ...more }: LogEntry, script: string, force: Force): Command {
    const key = kind === 'revoked' ? this.#keys.revoked(name) : this.#keys.cutoff(name)
    const keys: [number, ...string[]] = this.#redis.isCluster ? [1, key] : [2, key, this.#keys.log]
    const value = kind === 'revoked' ? JSON.stringify({ at, exp }) : at
    const words = toWords({ kind, name, at, exp, until, ...more })
    return ['eval', script, ...keys, value, ...lasting(until, this.#clock()), this.#longest, ...words, this.#logSpan ?? '', force]
  }

  #write (command: Command, entry: LogEntry): Promise<unknown[]> {
    const write = () => this.#writeBoth(command, entry)
    return this.#proof === undefined ? write() : this.#proof.during(write)
  }

  async #writeBoth (command: Command, entry: LogEntry): Promise<unknown[]> {
    const answer = await this.#held(command)
    if (!isAnswer(answer)) throw nonsense()
    // A node may lose its data between the two writes.
    if (this.#redis.isCluster && !await this.#append(entry, String(answer[2]))) await this.#held(command)
    return answer
  }

  /** Gives whether the key of the entry is still there. */
  async #append (entry: LogEntry, words: string): Promise<boolean> {
    const [, after] = toWords(entry)
    const id = await this.#held(['eval', APPEND, 1, this.#keys.log, words, after, this.#logSpan ?? '']).catch((error) => {
      this.#halfway.add(error)
      throw error
    })
    if (typeof id !== 'string') throw new TypeError('Redis answered nonsense to an entry of the log')
    return await this.#redis.send(['exists', entry.kind === 'revoked' ? this.#keys.revoked(entry.name) : this.#keys.cutoff(entry.name)]) === 1
  }

  /** A write whose WAIT is refused stands. */
  async #bothOf (both: Command[]): Promise<unknown[]> {
    const [[error, answer], [refusal, held]] = await this.#redis.pipelined(both) as [Settled, Settled]
    if (error) throw error
    if (refusal) {
      this.#halfway.add(refusal)
      throw refusal
    }
    return [answer, held]
  }

  /** WAIT counts what its own connection wrote, on the node where that was: both go as one pipeline. */
  async #held (command: Command): Promise<unknown> {
    if (this.#minReplicas === 0) return (await this.#redis.all([command]))[0]
    const both: Command[] = [command, ['wait', this.#minReplicas, this.#patience]]
    const [answer, held] = await this.#bothOf(both).catch(async (error) => {
      if (!this.#redis.isCluster || !/^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /.test(error.message)) throw error
      // A client of a cluster follows for a command alone, and then knows the way; not for a pipeline that writes.
      await this.#redis.all([command])
      return this.#bothOf(both)
    })
    if (Number(held) >= this.#minReplicas) return answer
    throw new Error(`${Number(held)} of the ${this.#minReplicas} replicas that option "minReplicas" asks for hold the write`)
  }
}
