import { EventEmitter } from 'node:events'
import type { RevocationEvents } from '../types.ts'

type Listener<E extends keyof RevocationEvents> = (...args: RevocationEvents[E]) => void

/**
 * Calls the application's listeners. A listener that throws does not undo a revocation: its error is no
 * answer to whoever revoked, and does not end the process.
 */
export class Events {
  readonly #emitter = new EventEmitter()
  readonly #onThrown: (event: string, error: unknown) => void

  constructor (onThrown: (event: string, error: unknown) => void) {
    this.#onThrown = onThrown
  }

  on<E extends keyof RevocationEvents> (event: E, listener: Listener<E>) {
    this.#emitter.on(event, listener)
  }

  off<E extends keyof RevocationEvents> (event: E, listener: Listener<E>) {
    this.#emitter.off(event, listener)
  }

  emit<E extends keyof RevocationEvents> (event: E, ...args: RevocationEvents[E]) {
    for (const listener of this.#emitter.listeners(event)) this.#tell(event, listener, args)
  }

  async #tell (event: string, listener: Function, args: unknown[]) {
    try {
      await listener(...args)
    } catch (error) {
      this.#onThrown(event, error)
    }
  }
}
