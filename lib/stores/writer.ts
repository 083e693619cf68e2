import { setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds, Seconds } from '../expiry.ts'
import type { Keys } from '../keys.ts'
import type { RedisClient } from '../types.ts'
import { Commands, type Command } from './commands.ts'
import { toWords, type LogEntry } from './log.ts'
import { APPEND, CUT_OFF, KEEP_CUTOFF, REVOKE } from './scripts.ts'
import type { Denial, NewDenial } from './store.ts'
import { parseCutoff, parseDenial } from './values.ts'

export interface WriterOptions {
  storeTimeout: Milliseconds
  /** How long an entry of the log matters; null: for ever. */
  logSpan: Seconds | null
  /** How many replicas of Redis must hold a write before it counts. */
  minReplicas: number
}

const FINISH_INTERVAL: Milliseconds = 1000
const FINISHED_AT_ONCE = 100
/** More are not remembered: Redis is away, and nothing of theirs is likely to stand. */
const MAX_UNFINISHED = 10_000

/** Writes revocations, the key and then the log: on one node at once, on a cluster one after the other. */
export class Writer {
  readonly #redis: Commands
  readonly #keys: Keys
  readonly #logSpan: Seconds | null
  readonly #minReplicas: number
  readonly #patience: Milliseconds
  /** For the scripts: whether to write what stands already. */
  readonly #always: '1' | ''
  readonly #clock: () => Milliseconds
  readonly #unfinished = new Map<string, LogEntry>()
  #finisher: Promise<void> | undefined
  #closed = false

  constructor (client: RedisClient, { keys, storeTimeout, logSpan, minReplicas }: WriterOptions & { keys: Keys }, clock: () => Milliseconds) {
    this.#redis = new Commands(client)
    this.#keys = keys
    this.#logSpan = logSpan
    this.#minReplicas = minReplicas
    this.#always = minReplicas > 0 ? '1' : ''
    // Two waits are to end before the caller does.
    this.#patience = Math.max(Math.floor(storeTimeout / 3), 1)
    this.#clock = clock
  }

  async deny (identity: string, { id, sub, ...denial }: NewDenial, keptUntil: Seconds | null): Promise<Denial & { first: boolean }> {
    const entry: LogEntry = { kind: 'revoked', name: identity, ...denial, until: keptUntil, ...(id && { id }), ...(sub && { sub }) }
    const [first, value] = await this.#finished(entry, () => this.#write([...this.#command(entry), this.#always], entry))
    if (!/^[01]$/.test(String(first)) || typeof value !== 'string') throw new TypeError('Redis answered nonsense to a revocation')
    return { ...(parseDenial(value) ?? denial), first: Number(first) === 1 }
  }

  async cutOff (subject: string, cutoff: Seconds, keptUntil: Seconds | null, enough: Seconds | null): Promise<{ cutoff: Seconds, before: Seconds | null }> {
    const entry: LogEntry = { kind: 'cutoff', name: subject, at: cutoff, exp: null, until: keptUntil }
    const [value, before] = await this.#finished(entry, () => this.#write([...this.#command(entry, CUT_OFF), enough ?? '', this.#always], entry))
    const standing = parseCutoff(value)
    // Lower than what was asked for: nothing that the script gives.
    if (standing === null || !(standing >= Math.min(cutoff, enough ?? cutoff))) throw new TypeError('Redis answered nonsense to a cutoff')
    return { cutoff: standing, before: parseCutoff(before === '' ? null : before) }
  }

  /** Writes again what Redis has lost, as much of it as it takes, but for keys that are in somebody else's use. */
  async putBack (entries: LogEntry[]) {
    const answers = await this.#redis.settled(entries.map((entry): Command => [...this.#command(entry), '1']))
    const failures = answers.map(([error]) => error).filter((error) => error !== null && !error.message.includes('WRONGTYPE'))
    if (this.#redis.isCluster) {
      const written = entries.flatMap((entry, i) => answers[i]![0] === null ? [{ entry, words: wordsOf(answers[i]![1]) }] : [])
      const areKept = await Promise.all(written.map(({ entry, words }) => this.#append(entry, words)))
      if (areKept.includes(false)) throw new Error('Redis loses its data')
    }
    if (failures.length > 0) throw failures[0]
  }

  close () {
    this.#closed = true
  }

  /**
   * On a cluster a revocation that failed on its way may stand under its key and not be in the log, so that those who
   * read the key refuse the token, also to whoever tries to revoke it again with it, and those who follow the log never do.
   */
  async #finished<T> (entry: LogEntry, write: () => Promise<T>): Promise<T> {
    try {
      return await write()
    } catch (error) {
      if (this.#redis.isCluster && this.#unfinished.size < MAX_UNFINISHED) {
        this.#unfinished.set(`${entry.kind}:${entry.name}`, entry)
        this.#finisher ??= this.#finish()
      }
      throw error
    }
  }

  async #finish () {
    while (this.#unfinished.size > 0) {
      await sleep(FINISH_INTERVAL, undefined, { ref: false })
      if (this.#closed) return
      const some = [...this.#unfinished].slice(0, FINISHED_AT_ONCE)
      try {
        await this.putBack(some.map(([, entry]) => entry))
      } catch {
        continue
      }
      for (const [key, entry] of some) if (this.#unfinished.get(key) === entry) this.#unfinished.delete(key)
    }
    this.#finisher = undefined
  }

  /** What a revocation does, on the key of no token, for a second; and without an entry, since those stay. */
  async probe () {
    const soon = Math.ceil(this.#clock() / 1000) + 1
    await this.#held(['eval', REVOKE, 1, this.#keys.revoked(''), '{}', ...lasting(soon, this.#clock()), '', '', '', ''])
    await this.#redis.send(['xlen', this.#keys.log])
  }

  /** On one node the key and the log at once. */
  #command (entry: LogEntry, script = entry.kind === 'revoked' ? REVOKE : KEEP_CUTOFF): Command {
    const { kind, name, at, exp, until } = entry
    const key = kind === 'revoked' ? this.#keys.revoked(name) : this.#keys.cutoff(name)
    const keys: [number, ...string[]] = this.#redis.isCluster ? [1, key] : [2, key, this.#keys.log]
    const value = kind === 'revoked' ? JSON.stringify({ at, exp }) : at
    const [before, after] = toWords(entry)
    return ['eval', script, ...keys, value, ...lasting(until, this.#clock()), before, after, this.#logSpan ?? '']
  }

  async #write (command: Command, entry: LogEntry): Promise<unknown[]> {
    const answer = await this.#held(command)
    const words = wordsOf(answer)
    // A node may lose its data between the two writes.
    if (this.#redis.isCluster && !await this.#append(entry, words)) await this.#held(command)
    return answer as unknown[]
  }

  /** Gives whether the key of the entry is still there. */
  async #append (entry: LogEntry, words: string): Promise<boolean> {
    const [, after] = toWords(entry)
    const id = await this.#held(['eval', APPEND, 1, this.#keys.log, words, after, this.#logSpan ?? ''])
    if (typeof id !== 'string') throw new TypeError('Redis answered nonsense to an entry of the log')
    return await this.#redis.send(['exists', entry.kind === 'revoked' ? this.#keys.revoked(entry.name) : this.#keys.cutoff(entry.name)]) === 1
  }

  /** WAIT counts what its own connection wrote, on the node where that was: both go as one pipeline. */
  async #held (command: Command): Promise<unknown> {
    if (this.#minReplicas === 0) return (await this.#redis.all([command]))[0]
    const both: Command[] = [command, ['wait', this.#minReplicas, this.#patience]]
    const [answer, held] = await this.#redis.together(both).catch(async (error) => {
      if (!this.#redis.isCluster || !/^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /.test(error.message)) throw error
      // A client of a cluster follows for a command alone, and then knows the way; not for a pipeline that writes.
      await this.#redis.all([command])
      return this.#redis.together(both)
    })
    if (Number(held) >= this.#minReplicas) return answer
    throw new Error(`${Number(held)} of the ${this.#minReplicas} replicas that option "minReplicas" asks for hold the write`)
  }
}

/** What the script says is to be in the log. */
function wordsOf (answer: unknown): string {
  const words = Array.isArray(answer) && answer.length === 3 ? answer[2] : undefined
  if (typeof words !== 'string') throw new TypeError('Redis answered nonsense to a revocation')
  return words
}

/** How long to keep something, as the scripts take it. */
export function lasting (keptUntil: Seconds | null, now: Milliseconds): [until: number | '', span: number | ''] {
  return keptUntil === null ? ['', ''] : [keptUntil * 1000, Math.ceil(keptUntil * 1000 - now)]
}
