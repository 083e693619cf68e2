import { nonsense } from '../../errors.ts'
import type { Clock } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import type { ReadMany } from './batcher.ts'
import { ALIVE, Commands, type Command, type Done, type OwnOptions, type Settled } from './commands.ts'
import { databaseOf, leaveOtherDatabase, type ClientState, type Duplicable } from './connection.ts'
import { rememberErrors, whyNodeFailed } from './diagnosis.ts'

/** One server, found by its address or by Sentinel. */
export class Node extends Commands {
  readonly isApart = false

  readonly read: ReadMany = (keys, answer) => {
    this.ask(['mget', ...keys], (failure, values) => {
      const isWhole = Array.isArray(values) && values.length === keys.length
      const error = failure ?? (isWhole ? null : nonsense('to MGET'))
      for (let i = 0; i < keys.length; i++) answer(i, error, isWhole ? values[i] : undefined)
    })
  }

  async all (commands: Command[]): Promise<unknown[]> {
    return commands.length === 0 ? [] : this.together(commands)
  }

  /** A pipeline for one command takes a process that has just woken several times as long. */
  alone (command: Command, done: Done) {
    this.ask(command, done)
  }

  inStep (commands: Command[]): Promise<Settled[]> {
    return this.pipelined(commands)
  }

  connections (): unknown[] {
    return [(this.client as ClientState).condition, databaseOf(this.client)]
  }

  masters (): RedisClient[] {
    return [this.client]
  }

  duplicate (options: OwnOptions, clock: Clock): Duplicable {
    const own = (this.client as Duplicable).duplicate({ ...options, ...ALIVE, db: databaseOf(this.client) })
    rememberErrors(own, clock)
    leaveOtherDatabase(own)
    return own
  }

  why (error?: Error): Error | undefined {
    return whyNodeFailed(this.client, error)
  }
}
