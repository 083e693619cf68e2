import { randomUUID } from 'node:crypto'
import { checkClaims, claimsOf, type TokenClaims } from '../../lib/domain/claims.ts'
import { Decorator, type RevocationContext } from '../../lib/domain/decorator.ts'
import type { Store } from '../../lib/stores/store.ts'
import { systemClock, type Clock as InjectedClock } from '../../lib/time.ts'
import type { RedisClient } from '../../lib/types.ts'
import type { RedisServer } from './redis.ts'

/** Something with tap's teardown. */
interface Scope { teardown: (fn: () => unknown) => void }

/** Time as a test moves it: the date, and nothing else. */
export class Clock implements InjectedClock {
  now: number
  readonly wall = () => this.now
  readonly monotonic = systemClock.monotonic
  readonly sleep = systemClock.sleep
  readonly after = systemClock.after
  readonly every = systemClock.every

  constructor (now = Date.now()) {
    this.now = now
  }

  get seconds () {
    return Math.floor(this.now / 1000)
  }

  /** A moment of the second that comes `seconds` after this one. */
  set (seconds: number, milliseconds = 0) {
    this.now = (this.seconds + seconds) * 1000 + milliseconds
  }
}

/** The clock of one of several processes. Whoever waits lets the time of all of them pass. */
export class SharedClock extends Clock {
  clocks: Clock[] = [this]
  override readonly sleep = async (time: number) => {
    for (const clock of this.clocks) clock.now += time
  }
}

/** Time of the whole process, for what asks Date itself. It must stand before the application is built, which keeps Date.now. */
export function ownTime (t: Scope): Clock {
  const { now } = Date
  const clock = new Clock(now())
  Date.now = clock.wall
  t.teardown(() => { Date.now = now })
  return clock
}

/** What `@fastify/jwt` signs by default: 15 minutes, by a clock of the test's. The domain does not look at the signature. */
export const signedBy = ({ wall }: Clock): RevocationContext['sign'] => (claims, options) => {
  const { iat = Math.floor(wall() / 1000) } = claims as { iat?: number }
  const { expiresIn = 900 } = (options ?? {}) as { expiresIn?: number }
  return tokenOf({ ...claims, iat, exp: Math.floor(iat + expiresIn) })
}

export function tokenOf (claims: object): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  return `${encode({ alg: 'none' })}.${encode(claims)}.signature`
}

/** Where the names of a token are, if nobody says otherwise. */
export const NAMES = { claims: { jti: 'jti', sub: 'sub' }, revocableBy: [] }

export const RULES: RevocationContext['rules'] = { maxTokenLifetime: 3600, clockTolerance: 0, tokensWithoutJti: 'reject', ...NAMES }

export type DomainOptions = { store: Store, clock: Clock } & Partial<Omit<RevocationContext, 'store' | 'clock'>>

/** The domain without HTTP, under a clock that the test moves. */
export function buildDomain ({ clock, ...options }: DomainOptions): Decorator {
  return new Decorator({
    rules: RULES,
    sign: signedBy(clock),
    mode: 'strict',
    onStoreFailure: 'reject',
    recordOnUse: false,
    log: { fatal () {}, info () {}, warn () {}, error () {} },
    ...options,
    clock
  })
}

/** What becomes of a request with a token of these claims: 'accepted', or the code of the refusal. */
export function presented (domain: Decorator, claims: TokenClaims): Promise<string> {
  return new Promise((resolve) => {
    domain.check(JSON.parse(JSON.stringify(claims)), {
      checked: (refusal) => resolve(refusal === null ? 'accepted' : (refusal as Error & { code: string }).code)
    })
  })
}

/** The claims of a token, when those can be relied on at all: for what must be refused as revoked and for no other reason. */
export function usable (claims: TokenClaims, clock: Clock, rules = RULES): boolean {
  return typeof checkClaims(claims, rules, clock.now) !== 'string'
}

export { claimsOf }

/** A token of another signer's: nobody here knows of it until it is presented. */
export const foreign = (clock: Clock, claims: TokenClaims = {}): TokenClaims =>
  ({ jti: randomUUID(), sub: 'alice', iat: clock.seconds, exp: clock.seconds + 900, ...claims })

export const UNAVAILABLE = {
  statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE', message: 'Token revocation is unavailable, try again'
}

/** Stands before a client: what was sent, in how many flushes, and when nothing is under way any more. */
export class WatchedClient implements RedisClient {
  readonly isCluster: boolean
  /** The names of the commands, one list a flush. */
  readonly flushes: string[][] = []
  /** Gives what a command is answered with in Redis' place, or undefined. */
  intercept: (command: unknown[]) => Promise<unknown> | undefined = () => undefined
  readonly #client: RedisClient
  readonly #under = new Set<Promise<unknown>>()

  constructor (client: RedisClient) {
    this.#client = client
    this.isCluster = client.isCluster
  }

  call (...command: [command: string, ...args: Array<string | number>]) {
    this.flushes.push([command[0]])
    return this.#watch(this.intercept(command) ?? this.#client.call(...command))
  }

  pipeline (commands: unknown[][]) {
    return {
      exec: () => {
        this.flushes.push(commands.map(([name]) => String(name)))
        const instead = commands.map((command) => this.intercept(command))
        if (instead.every((answer) => answer === undefined)) return this.#watch(this.#client.pipeline(commands).exec())
        return this.#watch(Promise.all(commands.map(async (command, i): Promise<[error: Error | null, result: unknown]> => {
          try {
            return [null, await (instead[i] ?? this.#client.call(...command as [command: string, ...args: string[]]))]
          } catch (error) {
            return [error as Error, undefined]
          }
        })))
      }
    }
  }

  /** Nothing has been sent for two turns of the event loop, and all that was is answered. */
  async idle () {
    for (let quiet = 0; quiet < 2; quiet++) {
      if (this.#under.size > 0) quiet = 0
      await Promise.allSettled(this.#under)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** What is sent meanwhile. */
  async during (act: () => Promise<unknown>): Promise<string[][]> {
    const from = this.flushes.length
    await act()
    await this.idle()
    return this.flushes.slice(from)
  }

  #watch<T> (answer: Promise<T>): Promise<T> {
    this.#under.add(answer)
    const settled = () => { this.#under.delete(answer) }
    answer.then(settled, settled)
    return answer
  }
}

/** How often the server ran which commands meanwhile. */
export async function commandsOf (server: RedisServer, act: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await commandStats(server)
  await act()
  const after = await commandStats(server)
  return Object.fromEntries(Object.entries(after)
    .map(([name, calls]) => [name, calls - (before[name] ?? 0)] as const)
    .filter(([name, calls]) => calls > 0 && name !== 'info'))
}

async function commandStats (server: RedisServer): Promise<Record<string, number>> {
  const stats = await server.cli('INFO', 'commandstats')
  return Object.fromEntries([...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)].map(([, name, calls]) => [name!, Number(calls)]))
}
