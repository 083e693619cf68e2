import type { Milliseconds } from '../../time.ts'
import type { Command, Commands } from './commands.ts'

export interface HeldOptions {
  /** How many replicas of Redis must hold a write before it counts. */
  minReplicas: number
  /** The caller's time. */
  timeout: Milliseconds
  /** Called with the error of a write that stands, because Redis refused the WAIT alone. */
  onTaken: (error: Error) => void
}

/** Runs writes, each of which counts when enough replicas hold it. */
export class Held {
  readonly #redis: Commands
  readonly #minReplicas: number
  readonly #patience: Milliseconds
  readonly #onTaken: (error: Error) => void

  constructor (redis: Commands, { minReplicas, timeout, onTaken }: HeldOptions) {
    this.#redis = redis
    this.#minReplicas = minReplicas
    // Two WAITs must end within the caller's time.
    this.#patience = Math.max(Math.floor(timeout / 3), 1)
    this.#onTaken = onTaken
  }

  async runAll (commands: Command[]): Promise<unknown[]> {
    if (this.#minReplicas === 0) return this.#redis.all(commands)
    return Promise.all(commands.map((command) => this.run(command)))
  }

  /** Runs a write and WAIT in one pipeline: WAIT counts what its own connection wrote to its node. */
  async run (command: Command): Promise<unknown> {
    if (this.#minReplicas === 0) return (await this.#redis.all([command]))[0]
    const wait: Command = ['wait', this.#minReplicas, this.#patience]
    const [[error, answer] = [null], [refusal, holders] = [null]] = await this.#redis.inStep([command, wait])
    if (error) throw error
    if (refusal) {
      this.#onTaken(refusal)
      throw refusal
    }
    if (Number(holders) >= this.#minReplicas) return answer
    const held = `${Number(holders)} of the ${this.#minReplicas} replicas`
    throw new Error(`${held} that option "minReplicas" asks for hold the write`)
  }
}
