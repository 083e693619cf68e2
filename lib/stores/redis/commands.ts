import { nonsense } from '../../errors.ts'
import type { RedisClient } from '../../types.ts'
import { isOfRedis, withoutArguments } from './advice.ts'
import type { ReadMany } from './batcher.ts'
import { whyFailed } from './diagnosis.ts'

export type Command = [name: string, ...args: Array<string | number>]
/** What a command failed with, or null, and what it gave. */
export type Settled = [error: Error | null, result?: unknown]

/** Runs what counts only while a connection is proven to see the data that it should (P7). */
export interface Proven {
  during<T> (act: () => Promise<T>): Promise<T>
}

/** What stands at the other end of a client, as far as it matters whether that is one node or a cluster. */
export interface Topology {
  /**
   * Whether keys and log may be on different nodes: then they are written by two commands, and lost apart. Else both are
   * written by one script.
   */
  readonly isApart: boolean
  /** What is under each key: in one command, or one for each, which a cluster's client sends to its node. */
  readonly read: ReadMany
  /** One flush to the socket where one node takes all; on a cluster each command goes to the node of its key. */
  all (commands: Command[]): Promise<unknown[]>
  /** Commands that must run on one connection, the first of them a write. */
  inStep (commands: Command[]): Promise<Settled[]>
  /** The connections that it has now: to be compared with later ones. */
  connections (): unknown[]
  /** The nodes whose keys make up the whole. */
  masters (): RedisClient[]
}

/** How commands reach Redis. A client that throws is a client that rejects. */
export abstract class Commands implements Topology {
  readonly client: RedisClient
  readonly #proof: Proven | undefined
  abstract readonly isApart: boolean

  /** `proof`: answers to `together` count only where it holds. */
  constructor (client: RedisClient, proof?: Proven) {
    this.client = client
    this.#proof = proof
  }

  abstract readonly read: ReadMany
  abstract all (commands: Command[]): Promise<unknown[]>
  abstract inStep (commands: Command[]): Promise<Settled[]>
  abstract connections (): unknown[]
  abstract masters (): RedisClient[]

  async eval (script: string, key: string, ...args: Array<string | number>): Promise<unknown> {
    const [answer] = await this.all([['eval', script, 1, key, ...args]])
    return answer
  }

  async send (command: Command): Promise<unknown> {
    try {
      return await this.client.call(...command)
    } catch (error) {
      throw this.#explained(error)
    }
  }

  /**
   * Commands on one key, one after another. As a pipeline a command keeps out of a cluster client's auto-pipelining,
   * which can take an EVAL's script for its key.
   */
  async together (commands: Command[]): Promise<unknown[]> {
    const run = async () => (await this.pipelined(commands)).map(([error, result]) => {
      if (error) throw error
      return result
    })
    return this.#proof === undefined ? run() : this.#proof.during(run)
  }

  /** The same, and what became of each of them. */
  async pipelined (commands: Command[]): Promise<Settled[]> {
    const results = await this.client.pipeline(commands).exec().catch((error) => { throw this.#explained(error) })
    if (results?.length !== commands.length) throw nonsense('to a pipeline')
    return results.map(([error, result]) => [error && this.#explained(error) as Error, result])
  }

  /**
   * What the client attaches to its errors ends up in logs: the command with its arguments, a password where that is
   * AUTH. What it does not say is why it has no answer.
   */
  #explained (error: unknown): unknown {
    if (!(error instanceof Error)) return error
    const { name, message, stack, lastNodeError } = error as Error & { lastNodeError?: unknown }
    const cause = isOfRedis(error) ? undefined : isOfRedis(lastNodeError) ? this.#explained(lastNodeError) : whyFailed(this.client, error)
    return Object.assign(new Error(withoutArguments(message), cause === undefined ? {} : { cause }), { name, stack: withoutArguments(String(stack)) })
  }
}
