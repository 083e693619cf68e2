import type { Keys } from '../support/tokens.ts'

/** What is compared. All answer `GET /me` with the `sub` of the token, and `GET /public` to everybody. */
export interface Contender {
  name: string
  kind: 'open' | 'verified' | 'floor' | 'bare GET' | 'GET' | 'trusted' | 'ours'
  /** `@fastify/jwt`'s `verify.cache`. */
  cache?: boolean
  /** The plugin registers `@fastify/jwt` itself. */
  jwt?: boolean
  mode?: 'strict' | 'replica'
  /** Its sessions can be refreshed. */
  refresh?: boolean
  /** How many revocations there are. */
  entries?: number
}

/** What a process needs to know to be one. */
export interface Build {
  contender: Contender
  keys: Keys
  redisUrl: string
}

/** What the hand-written check looks for in Redis. */
export const denialKey = (jti: string) => `revoked:${jti}`

export const CACHED = ', verify.cache'
export const OPEN: Contender = { name: 'Fastify alone', kind: 'open' }
export const ALONE: Contender = { name: '@fastify/jwt alone', kind: 'verified' }
/** The control: the same once more. */
export const AGAIN: Contender = { name: '@fastify/jwt alone, again', kind: 'verified' }
export const FLOOR: Contender = { name: 'a hook with app.jwt.verify() only', kind: 'floor' }
/** What is left of a check that asks Redis when nothing else is done: no second key, no time limit, one way without a client's library. */
export const ASKING: Contender[] = [
  { name: 'a hook with app.jwt.verify() and a bare GET', kind: 'bare GET' },
  { name: 'a hook with app.jwt.verify() and a GET by ioredis', kind: 'GET' }
]
export const BY_HAND: Contender = { name: 'by hand: trusted + GET', kind: 'trusted' }

export const cached = (contender: Contender): Contender => ({ ...contender, name: contender.name + CACHED, cache: true })

/** With option `jwt`, and without. */
const WAYS = [true, false]
const way = (jwt: boolean) => jwt ? 'option jwt' : 'without jwt'

export const strict = (jwt: boolean): Contender => ({ name: `strict, ${way(jwt)}`, kind: 'ours', mode: 'strict', jwt })
export const replica = (jwt: boolean, entries: number): Contender =>
  ({ name: `replica, ${way(jwt)}, ${entries.toLocaleString('en')} revoked`, kind: 'ours', mode: 'replica', jwt, entries })
export const refreshing = (): Contender => ({ ...strict(false), refresh: true })
export const bothWays = (make: (jwt: boolean) => Contender) => WAYS.map(make)
