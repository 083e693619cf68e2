import type { RedisClient } from '../../types.ts'
import { isOfRedis, withoutArguments } from './advice.ts'
import type { ReadMany } from './batcher.ts'
import { whyFailed, whyNoAnswer } from './diagnosis.ts'

type Answer = Parameters<ReadMany>[1]
export type Command = [name: string, ...args: Array<string | number>]
/** What a command failed with, or null, and what it gave. */
export type Settled = [error: Error | null, result?: unknown]

/** How commands reach one node, or the nodes of a cluster. A client that throws is a client that rejects. */
export class Commands {
  readonly #client: RedisClient
  /** What is under each key: in one command, or one for each, which a cluster's client sends to its node. */
  readonly read: ReadMany

  get isCluster () {
    return this.#client.isCluster
  }

  constructor (client: RedisClient) {
    this.#client = client
    this.read = client.isCluster ? (keys, answer) => this.#readEach(keys, answer) : (keys, answer) => this.#readAll(keys, answer)
  }

  /** Why nothing comes. */
  readonly why = () => whyNoAnswer(this.#client)

  async eval (script: string, key: string, ...args: Array<string | number>): Promise<unknown> {
    const [answer] = await this.all([['eval', script, 1, key, ...args]])
    return answer
  }

  async send (command: Command): Promise<unknown> {
    try {
      return await this.#client.call(...command)
    } catch (error) {
      throw this.#explained(error)
    }
  }

  /** One flush to the socket where one node takes all; on a cluster each command goes to the node of its key. */
  async all (commands: Command[]): Promise<unknown[]> {
    if (commands.length === 0) return []
    if (!this.#client.isCluster) return this.together(commands)
    const answers = await Promise.all(commands.map((command) => this.together([command])))
    return answers.map(([answer]) => answer)
  }

  /**
   * Commands on one key, one after another. As a pipeline a command keeps out of a cluster client's auto-pipelining,
   * which can take an EVAL's script for its key.
   */
  async together (commands: Command[]): Promise<unknown[]> {
    return (await this.pipelined(commands)).map(([error, result]) => {
      if (error) throw error
      return result
    })
  }

  /** The same, and what became of each of them. */
  async pipelined (commands: Command[]): Promise<Settled[]> {
    return (await this.#executed(commands)).map(([error, result]) => [error && this.#explained(error) as Error, result])
  }

  async #executed (commands: Command[]) {
    const results = await this.#client.pipeline(commands).exec()
    if (results?.length !== commands.length) throw new TypeError('Redis answered nonsense to a pipeline')
    return results
  }

  async #readAll (keys: string[], answer: Answer) {
    try {
      const values = await this.send(['mget', ...keys])
      if (!Array.isArray(values) || values.length !== keys.length) throw new TypeError('Redis answered nonsense to MGET')
      for (let i = 0; i < values.length; i++) answer(i, null, values[i])
    } catch (error) {
      for (let i = 0; i < keys.length; i++) answer(i, error)
    }
  }

  async #readEach (keys: string[], answer: Answer) {
    await Promise.all(keys.map(async (key, i) => {
      try {
        answer(i, null, await this.send(['get', key]))
      } catch (error) {
        answer(i, error)
      }
    }))
  }

  /**
   * What the client attaches to its errors ends up in logs: the command with its arguments, a password where that is
   * AUTH. What it does not say is why it has no answer.
   */
  #explained (error: unknown): unknown {
    if (!(error instanceof Error)) return error
    const { name, message, stack, lastNodeError } = error as Error & { lastNodeError?: unknown }
    const cause = isOfRedis(error) ? undefined : isOfRedis(lastNodeError) ? this.#explained(lastNodeError) : whyFailed(this.#client, error)
    return Object.assign(new Error(withoutArguments(message), cause === undefined ? {} : { cause }), { name, stack: withoutArguments(String(stack)) })
  }
}
