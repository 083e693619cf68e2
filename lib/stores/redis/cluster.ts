import type { RedisClient } from '../../types.ts'
import type { ReadMany } from './batcher.ts'
import { Commands, type Command, type Settled } from './commands.ts'
import type { ClientState } from './connection.ts'

/** What a node of a cluster answers where a key is elsewhere, or nowhere for a moment. */
const ELSEWHERE = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /

/** Redis Cluster: a command goes to the node that has its key's slot (P8). */
export class Cluster extends Commands {
  readonly isApart = true

  readonly read: ReadMany = (keys, answer) => Promise.all(keys.map(async (key, i) => {
    try {
      answer(i, null, await this.send(['get', key]))
    } catch (error) {
      answer(i, error)
    }
  }))

  async all (commands: Command[]): Promise<unknown[]> {
    const answers = await Promise.all(commands.map((command) => this.together([command])))
    return answers.map(([answer]) => answer)
  }

  /** The client follows to another node for a command alone, and then knows the way; not for a pipeline that writes. */
  async inStep (commands: Command[]): Promise<Settled[]> {
    const settled = await this.pipelined(commands).catch((error: Error): Settled[] => [[error]])
    const [[error] = [null]] = settled
    if (error === null || !ELSEWHERE.test(error.message)) return settled
    await this.all(commands.slice(0, 1))
    return this.pipelined(commands)
  }

  connections (): unknown[] {
    return this.#nodes().flatMap(({ condition, options }) => [`${options?.host}:${options?.port}`, condition])
  }

  masters (): RedisClient[] {
    return this.#nodes() as unknown as RedisClient[]
  }

  #nodes (): ClientState[] {
    return (this.client as ClientState).nodes?.('master') ?? []
  }
}
