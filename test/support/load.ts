import { setTimeout as sleep } from 'node:timers/promises'
import { genuine } from './app.ts'
import type { Outcome, Rig } from './outage.ts'
import type { Milliseconds } from '../../lib/time.ts'

/** A client of an application that goes on whatever becomes of Redis, and remembers what it must not have seen. */
export class Load {
  /** Tokens of which somebody was told that they are revoked. */
  readonly acknowledged: string[] = []
  readonly violations: unknown[] = []
  readonly causes = new Set<string>()
  /** How often which answer came: `check 200`, `revoke 503`. */
  readonly counts: Record<string, number> = {}
  slowest: Milliseconds = 0
  readonly #rig: Rig
  readonly #running: Promise<void>
  #stopped = false

  constructor (t: { teardown: (fn: () => unknown) => void }, rig: Rig) {
    this.#rig = rig
    this.#running = this.#run()
    t.teardown(() => {
      this.#stopped = true
      return this.#running
    })
  }

  async stop () {
    this.#stopped = true
    await this.#running
    // Once more all of them: none is forgotten by now.
    for (const token of this.acknowledged) await this.#check('revoked', token, [401])
  }

  async #run () {
    const { token: active } = await genuine()
    while (!this.#stopped) {
      const { token, jti } = await genuine()
      const revoking = this.#rig.call(() => this.#rig.app.revocation.revoke({ jti }))
      await Promise.all([
        this.#check('check', active, [200, 503]),
        ...this.acknowledged.slice(-5).map((token) => this.#check('revoked', token, [401, 503])),
        ...this.acknowledged.slice(0, 5).map((token) => this.#check('revoked', token, [401, 503]))
      ])
      const outcome = await revoking
      this.#note('revoke', outcome, [200, 503])
      if (outcome.status === 200) this.acknowledged.push(token)
      await sleep(25)
    }
  }

  async #check (what: string, token: string, allowed: number[]) {
    this.#note(what, await this.#rig.http('GET', '/me', token), allowed)
  }

  #note (what: string, outcome: Outcome, allowed: number[]) {
    const { status, code, elapsed, cause } = outcome
    const name = `${what} ${status}`
    this.counts[name] = (this.counts[name] ?? 0) + 1
    this.slowest = Math.max(this.slowest, elapsed)
    if (cause instanceof Error) this.causes.add(`${what}: ${cause.message}`)
    const right = { 401: 'FST_JWT_REVOKED', 503: 'FST_JWT_REVOCATION_UNAVAILABLE' }[status]
    if (!allowed.includes(status) || code !== right) this.violations.push({ what, ...outcome })
  }
}
