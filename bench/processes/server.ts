import { Redis } from 'ioredis'
import { build, whenSettled, type Running } from '../contenders/fastify.ts'
import type { Build } from '../contenders/contender.ts'
import type { TokenPair } from '../../lib/index.ts'
import { serve } from '../support/serve.ts'
import { clockOfMachine, shuffled } from '../support/stats.ts'
import type { Token } from '../support/tokens.ts'

/* A process that serves a contender, or several, each on a port of its own. */

/** CPU that this process used, in microseconds, requests that reached its routes, and turns of its event loop. */
export interface Usage {
  cpu: number
  handled: number
  turns: number
}

/** The claims of a token to be revoked. */
export type Claims = Omit<Token, 'token'>

/**
 * PUBLISH: a bare message of Redis, which does nothing but arrive; and the same again, for the control. XREAD: an entry of a
 * stream, for which each process waits with nothing but a loop around the client's own call, and which does nothing either.
 */
export const MESSAGES = ['revocation', 'PUBLISH', 'PUBLISH again', 'XREAD'] as const
const STREAM = 'bench:stream'
/** So many calls for each of so many sessions, one session at a time. */
export interface RefreshRun {
  call: 'issue()' | 'issue() with refresh' | 'refresh()'
  sessions: number
  times: number
}

export type Message = typeof MESSAGES[number]
/** By the clock that all processes share. */
export type Moments = Record<Message, Array<number | null>>

const CHANNELS: Message[] = ['PUBLISH', 'PUBLISH again']

/** The last one: what is called otherwise than over HTTP. */
let running: Running
const all: Running[] = []
let redisUrl: string
let watched = new Map<string, Claims>()
let messages: Redis | undefined
let publisher: Redis | undefined
let arrived: Record<Message, Map<string, number>>
let pairs: TokenPair[] = []

const handlers = {
  /** Gives the port. */
  async start (what: Build): Promise<number> {
    running = await build(what)
    await whenSettled(running, what.contender)
    all.push(running)
    redisUrl = what.redisUrl
    return await running.listen()
  },

  usage (): Usage {
    const { user, system } = process.cpuUsage()
    return { cpu: user + system, handled: all.reduce((sum, { handled }) => sum + handled(), 0), turns: loopCount() }
  },

  /** Notes for each of these tokens when it is refused here, once somebody has revoked it, and when messages about it arrive. */
  async watch (tokens: Claims[]) {
    watched = new Map(tokens.map((claims) => [claims.jti, claims]))
    arrived = momentsOf(() => new Map<string, number>())
    running.revocation!.off('revoked', note)
    running.revocation!.on('revoked', note)
    if (messages) return
    messages = new Redis(redisUrl)
    messages.on('message', (channel: Message, jti) => { arrived[channel].set(jti, clockOfMachine()) })
    await messages.subscribe(...CHANNELS)
    readStream(new Redis(redisUrl))
  },

  /** Null: not yet. */
  arrivals (jtis: string[]): Moments {
    return momentsOf((message) => jtis.map((jti) => arrived[message].get(jti) ?? null))
  },

  /** Revokes one after the other, and publishes about each in an order of chance, with a random pause before. Gives when each answer came. */
  async sendEach ({ tokens, pause }: { tokens: Claims[], pause: number }): Promise<Moments> {
    const answered = momentsOf(() => [] as number[])
    publisher ??= new Redis(redisUrl)
    for (const { jti, exp } of tokens) {
      for (const message of shuffled(MESSAGES)) {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 2 * pause))
        if (message === 'revocation') await running.revocation!.revoke({ jti, exp })
        else if (message === 'XREAD') await addToStream(publisher, jti)
        else await publisher.publish(message, jti)
        answered[message].push(clockOfMachine())
      }
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

  /** Gives the milliseconds of each call. */
  async refreshAll ({ call, sessions, times }: RefreshRun): Promise<number[]> {
    const { revocation } = running
    const all: number[] = []
    const timed = async <T>(act: () => Promise<T>): Promise<T> => {
      const started = clockOfMachine()
      const answer = await act()
      all.push(clockOfMachine() - started)
      return answer
    }
    if (call === 'issue() with refresh') pairs = []
    for (let session = 0; session < sessions; session++) {
      const claims = { sub: `user-${session}`, role: 'editor', name: 'Somebody of some name' }
      for (let time = 0; time < times; time++) {
        if (call === 'issue()') await timed(() => revocation!.issue(claims))
        else if (call === 'refresh()') pairs[session] = await timed(() => revocation!.refresh(pairs[session]!.refreshToken))
        else pairs[session] = await timed(() => revocation!.issue(claims, { refresh: true, meta: { device: 'A browser on a computer' } }))
      }
    }
    return all
  },

  /** What leads to sessions as long as they last, and to the last access token of each. */
  lastIdentities (): string[] {
    return pairs.flatMap(({ jti, sid }) => [jti, `sid:${sid}`])
  },

  async revokeMany ({ count }: { count: number }) {
    const exp = Math.floor(Date.now() / 1000) + 7200
    for (let done = 0; done < count; done += 500) {
      await Promise.all(Array.from({ length: Math.min(500, count - done) }, () =>
        running.revocation!.revoke({ jti: crypto.randomUUID(), exp })))
    }
  }
}

function momentsOf<T> (make: (message: Message) => T) {
  return Object.fromEntries(MESSAGES.map((message) => [message, make(message)])) as Record<Message, T>
}

/**
 * The event comes once requests are refused. Like a message's, its moment is read first. One in ten is made sure of at once: to
 * do so is work that no message makes, and it keeps other processes of this machine waiting.
 */
async function note (event: object) {
  const at = clockOfMachine()
  const claims = 'jti' in event ? watched.get(event.jti as string) : undefined
  if (claims === undefined) return
  arrived.revocation.set(claims.jti, at)
  if (arrived.revocation.size % 10 > 0) return
  if (!await running.revocation!.isRevoked({ ...claims })) arrived.revocation.delete(claims.jti)
}

/** A revocation as well asks Redis twice before it writes. A sender that was busy just now is woken sooner. */
async function addToStream (redis: Redis, jti: string) {
  await redis.get(STREAM + ':1')
  await redis.get(STREAM + ':2')
  await redis.call('xadd', STREAM, '*', 'jti', jti)
}

async function readStream (redis: Redis) {
  for (let last = '$'; ;) {
    const streams = await redis.call('xread', 'COUNT', 100, 'BLOCK', 1000, 'STREAMS', STREAM, last) as Array<[string, Array<[string, string[]]>]> | null
    const at = clockOfMachine()
    for (const [id, [, jti]] of streams?.[0]?.[1] ?? []) {
      last = id
      arrived.XREAD.set(jti!, at)
    }
  }
}

/** Newer than the types of the oldest Node.js that is supported. */
function loopCount (): number {
  const { uvMetricsInfo } = performance.nodeTiming as unknown as { uvMetricsInfo: { loopCount: number } }
  return uvMetricsInfo.loopCount
}

export type ServerHandlers = typeof handlers
serve(handlers)
