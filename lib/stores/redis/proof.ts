import { randomUUID } from 'node:crypto'
import { OtherData } from '../../errors.ts'
import type { Clock, Seconds } from '../../time.ts'
import type { RedisClient } from '../../types.ts'
import { Connections, databaseOf } from './connection.ts'
import { commandsOf } from './topology.ts'

/** How long a marker stays, for nobody. */
const MARKER_LIFE: Seconds = 60
/** Other processes write markers too, and each overwrites the one before. */
const ATTEMPTS = 10

export interface ProofContext {
  client: RedisClient
  /** The other connection. */
  own: RedisClient
  /** Of the marker. */
  key: string
  clock: Clock
}

/**
 * Proves that a connection of our own sees the data of the client (P7): a random marker is written over one and read
 * over the other. Two empty databases look alike, and so do a server and what became of its replica.
 */
export class Proof {
  readonly #client: RedisClient
  readonly #own: RedisClient
  readonly #key: string
  readonly #clock: Clock
  readonly #connections: Connections
  /** The connections that the proof is about. */
  #proven: unknown[] | undefined
  #proving: Promise<void> | undefined

  constructor ({ client, own, key, clock }: ProofContext) {
    this.#clock = clock
    this.#client = client
    this.#own = own
    this.#key = key
    this.#connections = new Connections(commandsOf({ client }), commandsOf({ client: own }))
  }

  /** Resolves where the two see the same, by the connections that they have now. @throws OtherData */
  readonly require = async (): Promise<void> => {
    while (!this.#holds()) {
      await (this.#proving ??= this.#prove().finally(() => { this.#proving = undefined }))
    }
  }

  /** Runs what counts only where the two saw the same all the while. @throws OtherData */
  async during<T> (act: () => Promise<T>): Promise<T> {
    await this.require()
    const proven = this.#proven
    const result = await act()
    if (proven === this.#proven && this.#holds()) return result
    // Where they see other data now, that is what is wrong.
    await this.require()
    throw new Error('a connection was renewed meanwhile')
  }

  #holds (): boolean {
    return this.#proven !== undefined && !this.#connections.wereRenewed(this.#proven)
  }

  async #prove () {
    this.#proven = undefined
    const [client, own] = [commandsOf({ client: this.#client }), commandsOf({ client: this.#own })]
    const database = databaseOf(this.#client)
    if (databaseOf(this.#own) !== database) await own.send(['select', database])
    const connections = this.#connections.now()
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const marker = randomUUID()
      await client.send(['set', this.#key, marker, 'EX', MARKER_LIFE])
      const seen = await own.send(['get', this.#key])
      // Another process may have written its marker in between: then the client sees that one.
      if (seen === marker || (typeof seen === 'string' && seen === await client.send(['get', this.#key]))) {
        // What was renewed meanwhile is proven by the next attempt.
        if (this.#connections.areStill(connections)) this.#proven = connections
        return
      }
      await this.#clock.sleep(Math.random() * 20)
    }
    throw new OtherData('a connection of the plugin sees other data than the client: both must lead to the same database of the same server')
  }
}
