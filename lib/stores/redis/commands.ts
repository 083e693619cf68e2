import { nonsense } from '../../errors.ts'
import type { Clock } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import { isOfRedis, withoutArguments } from './advice.ts'
import type { ReadMany } from './batcher.ts'
import { notHeld, type Duplicable, type Proven } from './connection.ts'
import { whySilent } from './diagnosis.ts'

export type Command = [name: string, ...args: Array<string | number>]
/** The outcome of a command: its error or null, and its result. */
export type Settled = [error: Error | null, result?: unknown]

/** Called once, with an error or null. */
export type Done = (error: unknown, answer?: unknown) => void

/** The options of a second connection. A cluster's client also needs `retryStrategy` for itself. */
export type OwnOptions = { retryStrategy: (attempt: number) => number } & Record<string, unknown>

/** A second connection connects by itself, and queues what it is given until then. */
export const ALIVE = { lazyConnect: false, enableOfflineQueue: true }

/** Everything that differs between one node and a cluster. */
export interface Topology {
  /**
   * Whether keys and log may be on different nodes. Then two commands write them, and one may be lost without
   * the other. Else one script writes both.
   */
  readonly isApart: boolean
  /** Reads each key: one node takes one command, a cluster one command a key. */
  readonly read: ReadMany
  /** Sends all commands in one flush to one node, or each command to the node of its key. */
  all (commands: Command[]): Promise<unknown[]>
  /** Runs one command that may wait, on a connection of our own. `done` must not throw. */
  alone (command: Command, done: Done): void
  /** Runs commands on one connection. The first of them is a write. */
  inStep (commands: Command[]): Promise<Settled[]>
  /** The connections that the client has now, for a comparison with later ones. */
  connections (): unknown[]
  /** The nodes that hold all keys together. */
  masters (): RedisClient[]
  /** Opens another connection to the same data. */
  duplicate (options: OwnOptions, clock: Clock): Duplicable
  /**
   * Why a command fails (`error`: with what); undefined where the client does not show it. Adds no listener
   * (P7).
   */
  why (error?: Error): Error | undefined
}

/** How commands reach Redis. A client that throws synchronously gives a rejected promise. */
export abstract class Commands implements Topology {
  readonly client: RedisClient
  readonly #proof: Proven | undefined
  abstract readonly isApart: boolean

  /** `proof`: an answer to `together` counts only while it holds. */
  constructor (client: RedisClient, proof?: Proven) {
    this.client = client
    this.#proof = proof
  }

  abstract readonly read: ReadMany
  abstract all (commands: Command[]): Promise<unknown[]>
  abstract alone (command: Command, done: Done): void
  abstract inStep (commands: Command[]): Promise<Settled[]>
  abstract connections (): unknown[]
  abstract masters (): RedisClient[]
  abstract duplicate (options: OwnOptions, clock: Clock): Duplicable
  abstract why (error?: Error): Error | undefined

  /** Why no answer comes: because a command fails, or because Redis is silent on an open connection. */
  whyNoAnswer (): Error | undefined {
    return this.why() ?? whySilent(this.client)
  }

  async eval (script: string, key: string, ...args: Array<string | number>): Promise<unknown> {
    const [answer] = await this.all([['eval', script, 1, key, ...args]])
    return answer
  }

  send (command: Command): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.ask(command, (error, answer) => error === null ? resolve(answer) : reject(error))
    })
  }

  /** As `send`, but calls back once, with an error or null. `done` must not throw. */
  ask (command: Command, done: Done) {
    const failed = (error: unknown) => done(this.#explained(error))
    let answer: Promise<unknown>
    try {
      answer = Promise.resolve(this.client.call(...command))
    } catch (error) {
      return failed(error)
    }
    answer.then((result) => done(null, result), failed)
  }

  /**
   * Runs commands on one key, one after another. A pipeline keeps out of a cluster client's auto-pipelining,
   * which can take the script of an EVAL for its key.
   */
  async together (commands: Command[]): Promise<unknown[]> {
    const run = async () => resultsOf(await this.pipelined(commands))
    return this.#proof === undefined ? run() : this.#proof.during(run)
  }

  /**
   * As `alone`. The answer counts only while the proof holds. It calls back, because each promise on the way
   * keeps all processes waiting that have woken for the same answer.
   */
  proven (command: Command, done: Done) {
    const proof = this.#proof
    if (proof === undefined) return this.alone(command, done)
    const isHeld = proof.hold()
    if (isHeld === undefined) {
      proof.require().then(() => this.proven(command, done), done)
      return
    }
    this.alone(command, (error, answer) => {
      if (error !== null || isHeld()) done(error, answer)
      else notHeld(proof).catch(done)
    })
  }

  /** As `together`, but gives the outcome of each command. */
  async pipelined (commands: Command[]): Promise<Settled[]> {
    const results = await this.client.pipeline(commands).exec()
      .catch((error) => { throw this.#explained(error) })
    if (results?.length !== commands.length) throw nonsense('to a pipeline')
    return results.map(([error, result]) => [error && this.#explained(error) as Error, result])
  }

  /**
   * A copy of a client's error that is safe to log, with its cause. The client attaches the command with its
   * arguments, which are a password for AUTH. It does not say why it has no answer.
   */
  #explained (error: unknown): unknown {
    try {
      return this.#copied(error)
    } catch {
      // This looks into a client, and an error, that may be of a kind which we do not know.
      return new Error('the client failed with an error that can not be read')
    }
  }

  #copied (error: unknown): unknown {
    // Nothing falsy: it would count as no error.
    if (!(error instanceof Error)) return error || new Error('the client failed without an error')
    const { name, message, stack, lastNodeError } = error as Error & { lastNodeError?: unknown }
    const cause = this.#causeOf(error, lastNodeError)
    const copy = new Error(withoutArguments(message), cause === undefined ? {} : { cause })
    return Object.assign(copy, { name, stack: withoutArguments(String(stack)) })
  }

  #causeOf (error: Error, lastNodeError: unknown): unknown {
    if (isOfRedis(error)) return undefined
    return isOfRedis(lastNodeError) ? this.#explained(lastNodeError) : this.why(error)
  }
}

/** The result of each command. @throws the error of the first that failed */
export function resultsOf (settled: Settled[]): unknown[] {
  return settled.map(([error, result]) => {
    if (error) throw error
    return result
  })
}
