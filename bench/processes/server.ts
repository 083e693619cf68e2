import { Redis } from 'ioredis'
import { build } from '../contenders/build.ts'
import type { Build, Running } from '../contenders/contender.ts'
import { serve } from '../support/child.ts'
import { clockOfMachine } from '../support/stats.ts'
import type { Token } from '../support/tokens.ts'

/* A contender as a process of its own. */

/** CPU that this process used, in microseconds, and the requests that reached its route. */
export interface Usage {
  cpu: number
  handled: number
}

/** The claims of a token to be revoked. */
export type Claims = Omit<Token, 'token'>

let running: Running
let watched = new Map<string, Claims>()
let refusedAt = new Map<string, number>()
let redisUrl: string
let messages: Redis | undefined
let arrivedAt = new Map<string, number>()
const CHANNEL = 'bare'

const handlers = {
  /** Gives the port. */
  async start (what: Build): Promise<number> {
    running = await build(what)
    redisUrl = what.redisUrl
    return await running.listen()
  },

  usage (): Usage {
    const { user, system } = process.cpuUsage()
    return { cpu: user + system, handled: running.handled() }
  },

  status: () => running.revocation?.status(),

  /** Notes for each of these tokens when it is refused here, once somebody has revoked it. */
  watch (tokens: Claims[]) {
    watched = new Map(tokens.map((claims) => [claims.jti, claims]))
    refusedAt = new Map()
    running.revocation!.off('revoked', note)
    running.revocation!.on('revoked', note)
  },

  /** Notes when each bare message of Redis arrives here. */
  async hear () {
    arrivedAt = new Map()
    if (messages) return
    messages = new Redis(redisUrl)
    messages.on('message', (_channel, jti) => { arrivedAt.set(jti, clockOfMachine()) })
    await messages.subscribe(CHANNEL)
  },

  /** By the clock that all processes share; null: not refused yet. */
  refusedAt: (jtis: string[]) => jtis.map((jti) => refusedAt.get(jti) ?? null),

  /** The same of the bare messages. */
  arrivedAt: (jtis: string[]) => jtis.map((jti) => arrivedAt.get(jti) ?? null),

  /** Revokes one after the other, and publishes a bare message after each, with a random pause before both. Gives when each answer came. */
  async revokeEach ({ tokens, pause }: { tokens: Claims[], pause: number }): Promise<Record<'revoked' | 'published', number[]>> {
    const answered = { revoked: [] as number[], published: [] as number[] }
    messages ??= new Redis(redisUrl)
    for (const { jti, exp } of tokens) {
      await randomPause(pause)
      await running.revocation!.revoke({ jti, exp })
      answered.revoked.push(clockOfMachine())
      await randomPause(pause)
      await messages.publish(CHANNEL, jti)
      answered.published.push(clockOfMachine())
    }
    return answered
  },

  /** Revokes new tokens, so many at a time, for so long. */
  async revokeFor ({ seconds, concurrency }: { seconds: number, concurrency: number }) {
    const started = clockOfMachine()
    const end = started + seconds * 1000
    const exp = Math.floor(Date.now() / 1000) + 7200
    let count = 0
    await Promise.all(Array.from({ length: concurrency }, async () => {
      while (clockOfMachine() < end) {
        await running.revocation!.revoke({ jti: crypto.randomUUID(), exp })
        count++
      }
    }))
    return { count, milliseconds: clockOfMachine() - started }
  },

  async revokeMany ({ count }: { count: number }) {
    const exp = Math.floor(Date.now() / 1000) + 7200
    for (let done = 0; done < count; done += 500) {
      await Promise.all(Array.from({ length: Math.min(500, count - done) }, () =>
        running.revocation!.revoke({ jti: crypto.randomUUID(), exp })))
    }
  }
}

function randomPause (average: number) {
  return new Promise((resolve) => setTimeout(resolve, Math.random() * 2 * average))
}

async function note (event: object) {
  const claims = 'jti' in event ? watched.get(event.jti as string) : undefined
  if (claims && await running.revocation!.isRevoked({ ...claims })) refusedAt.set(claims.jti, clockOfMachine())
}

export type ServerHandlers = typeof handlers
serve(handlers)
