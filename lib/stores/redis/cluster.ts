import type { Clock } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import type { ReadMany } from './batcher.ts'
import {
  ALIVE, Commands, resultsOf, type Command, type Done, type OwnOptions, type Settled
} from './commands.ts'
import type { ClientState, Duplicable } from './connection.ts'
import { rememberErrors, whyClusterFailed } from './diagnosis.ts'

/** A node of a cluster answers this while another node has the key, or while none has. */
const ELSEWHERE = /^(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /

/** Redis Cluster: a command goes to the node that has its key's slot (P8). */
export class Cluster extends Commands {
  readonly isApart = true

  readonly read: ReadMany = (keys, answer) => {
    keys.forEach((key, i) => this.ask(['get', key], (error, value) => answer(i, error, value)))
  }

  async all (commands: Command[]): Promise<unknown[]> {
    const answers = await Promise.all(commands.map((command) => this.together([command])))
    return answers.map(([answer]) => answer)
  }

  /** Auto-pipelining, which a cluster's client may have set, would take a word of the command for its key. */
  alone (command: Command, done: Done) {
    this.pipelined([command]).then(resultsOf).then(([answer]) => done(null, answer), done)
  }

  /**
   * The client does not follow a key to another node for a pipeline that writes. For a single command it
   * does, and remembers the node: hence the first command alone, then all again.
   */
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

  duplicate (options: OwnOptions, clock: Clock): Duplicable {
    const given = this.client as Duplicable
    const redisOptions = { ...given.options?.redisOptions, ...options }
    const own = given.duplicate([], { ...ALIVE, clusterRetryStrategy: options.retryStrategy, redisOptions })
    rememberErrors(own, clock)
    own.on('+node', (node) => rememberErrors(node, clock))
    return own
  }

  why (): Error | undefined {
    return whyClusterFailed(this.client)
  }

  #nodes (): ClientState[] {
    return (this.client as ClientState).nodes?.('master') ?? []
  }
}
