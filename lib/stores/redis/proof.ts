import { randomUUID } from 'node:crypto'
import { OtherData } from '../../errors.ts'
import type { Clock, Milliseconds, Seconds } from '../../time.ts'
import { Deadline } from '../deadline.ts'
import type { RedisClient } from '../../types.ts'
import { Connections, databaseOf, notHeld, type Proven } from './connection.ts'
import { commandsOf } from './topology.ts'

/** How long a marker outlives its proof at most. */
const MARKER_LIFE: Seconds = 60
/** More than one, because the markers of other processes overwrite ours. */
const ATTEMPTS = 10

export interface ProofContext {
  client: RedisClient
  /** The connection that is to be proven. */
  own: RedisClient
  /** The key of the marker. */
  key: string
  clock: Clock
  /** How long one proof may take: the client may drop what a broken connection owed it. */
  timeout: Milliseconds
}

/**
 * Proves that a connection of our own sees the data of the client (P7). It writes a random marker over the
 * client and reads it over the connection. No look at the data alone would do: two empty databases look
 * alike, and so do a server and a replica that was promoted.
 */
export class Proof implements Proven {
  readonly #client: RedisClient
  readonly #own: RedisClient
  readonly #key: string
  readonly #clock: Clock
  readonly #deadline: Deadline
  readonly #connections: Connections
  /** The connections that the last proof holds for. */
  #proven: unknown[] | undefined
  #proving: Promise<void> | undefined

  constructor ({ client, own, key, clock, timeout }: ProofContext) {
    this.#deadline = new Deadline({ timeout, clock })
    this.#clock = clock
    this.#client = client
    this.#own = own
    this.#key = key
    this.#connections = new Connections(commandsOf({ client }), commandsOf({ client: own }))
  }

  /** Resolves once the current connections of both are proven to see the same data. @throws OtherData */
  readonly require = async (): Promise<void> => {
    while (!this.#holds()) {
      this.#proving ??= this.#deadline.run(() => this.#prove()).finally(() => { this.#proving = undefined })
      await this.#proving
    }
  }

  hold (): (() => boolean) | undefined {
    if (!this.#holds()) return undefined
    const proven = this.#proven
    return () => {
      try {
        return proven === this.#proven && this.#holds()
      } catch {
        // This looks into a client that may be of a kind which we do not know.
        return false
      }
    }
  }

  /** Gives the result of `act` only if both saw the same data the whole time. @throws OtherData */
  during<T> (act: () => Promise<T>): Promise<T> {
    // A command that need not wait leaves at once: Redis runs it while this process goes on with other work.
    const isHeld = this.hold()
    if (isHeld === undefined) return this.require().then(() => this.during(act))
    return act().then((result) => isHeld() ? result : notHeld(this))
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
      // Another process may have overwritten our marker. Then the client sees the other marker, too.
      if (seen === marker || (typeof seen === 'string' && seen === await client.send(['get', this.#key]))) {
        // If a connection was renewed meanwhile, `require` proves again.
        if (this.#connections.areStill(connections)) this.#proven = connections
        return
      }
      await this.#clock.sleep(Math.random() * 20)
    }
    throw new OtherData('a connection of the plugin sees other data than the client: ' +
      'both must lead to the same database of the same server')
  }
}
