import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RevocationDecorator } from '../../lib/index.ts'
import type { Keys } from '../support/tokens.ts'

/** What is compared. All answer `GET /me` with the `sub` of the token. */
export interface Contender {
  name: string
  kind: 'open' | 'verified' | 'trusted' | 'express' | 'ours'
  /** `@fastify/jwt`'s `verify.cache`. */
  cache?: boolean
  /** ioredis' `enableAutoPipelining`. */
  autoPipelining?: boolean
  mode?: 'strict' | 'replica'
  /** How many revocations there are. */
  entries?: number
}

/** What a process needs to know to be one. */
export interface Build {
  contender: Contender
  keys: Keys
  redisUrl: string
}

export interface Running {
  /** Requests that reached the route. */
  handled (): number
  /** A request without a socket in between. */
  dispatch (request: IncomingMessage, response: ServerResponse): void
  listen (): Promise<number>
  revocation?: RevocationDecorator
}

/** What the hand-written checks look for in Redis. */
export const denialKey = (jti: string) => `revoked:${jti}`

export const ALONE = 'Fastify alone'
export const JWT = '@fastify/jwt alone'
/** The same once more: what two of the same differ by. */
export const AGAIN = '@fastify/jwt alone, again'
export const GET = '@fastify/jwt, trusted + GET'
export const STRICT = 'ours, strict'
export const CACHED = ', verify.cache'

const count = (entries: number) => entries === 0 ? '0' : entries % 1e6 === 0 ? `${entries / 1e6} million` : `${entries / 1000} thousand`
export const replicaName = (entries: number) => `ours, replica, ${count(entries)} revoked`

export function contendersWith (entries: number[]): Contender[] {
  const ours: Contender[] = [
    { name: STRICT, kind: 'ours', mode: 'strict', entries: 0 },
    ...entries.map((entries): Contender => ({ name: replicaName(entries), kind: 'ours', mode: 'replica', entries }))
  ]
  return [
    { name: ALONE, kind: 'open' },
    { name: JWT, kind: 'verified' },
    { name: AGAIN, kind: 'verified' },
    { name: JWT + CACHED, kind: 'verified', cache: true },
    { name: GET, kind: 'trusted' },
    { name: `${GET}, auto-pipelining`, kind: 'trusted', autoPipelining: true },
    { name: 'Express 5, express-jwt, isRevoked + GET', kind: 'express' },
    ...ours,
    ...ours.map((contender) => ({ ...contender, name: contender.name + CACHED, cache: true }))
  ]
}
