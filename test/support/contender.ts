import { Redis } from 'ioredis'
import { createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Decorator } from '../../lib/domain/decorator.ts'
import { redisStore } from './stores.ts'
import { systemClock } from '../../lib/time.ts'

/*
 * One of many processes that issue and revoke the tokens of one subject at once: the domain on Redis, without HTTP,
 * which would take long to start twenty times. Says when it is ready, is told when to start, and tells what it did.
 */

/** What the parent sends. */
export interface Order {
  /** How often it revokes, among the issuing. */
  revoke: number
  /** How often it issues at least. */
  issue: number
}

/** Times are of the clock that all processes of a machine share, in milliseconds. */
export interface Deed {
  kind: 'issue' | 'revoke'
  started: number
  ended: number
  token?: string
  cutoff?: number
  /** How many tokens it ended. */
  revoked?: number
}

/** Monotonic, and the same for every process of the machine. */
export const clockOfMachine = () => Number(process.hrtime.bigint()) / 1e6

const { REDIS_URL, KEY_PREFIX, SECRET, SUBJECT } = process.env as Record<string, string>

if (process.send !== undefined && REDIS_URL !== undefined) {
  const redis = new Redis(REDIS_URL)
  const store = redisStore(redis, { keyPrefix: KEY_PREFIX!, storeTimeout: 20_000, logSpan: 3600, minReplicas: 0 }, { clock: systemClock, onLost (error) { throw error }, onBack () {} })
  const revocation = new Decorator({
    store,
    rules: { maxTokenLifetime: 3600, clockTolerance: 0, tokensWithoutJti: 'reject', claims: { jti: 'jti', sub: 'sub' }, revocableBy: [] },
    clock: systemClock,
    sign,
    mode: 'strict',
    onStoreFailure: 'reject',
    recordOnUse: false,
    log: { fatal () {}, info () {}, warn () {}, error () {} }
  })
  process.on('message', async (order: Order) => {
    const deeds: Deed[] = []
    const left = { ...order }
    while (left.revoke > 0 || left.issue > 0) {
      const started = clockOfMachine()
      if (left.revoke > 0 && Math.random() < 0.2) {
        const { cutoff, revoked } = await revocation.revokeSubject(SUBJECT!)
        deeds.push({ kind: 'revoke', started, ended: clockOfMachine(), cutoff: cutoff!, revoked })
        left.revoke--
      } else {
        const issued = await revocation.issue({ sub: SUBJECT }).catch(unlessCutOff)
        if (issued) {
          deeds.push({ kind: 'issue', started, ended: clockOfMachine(), token: issued.token })
          left.issue--
        }
      }
      await sleep(Math.random() * 60)
    }
    process.send!(deeds)
  })
  process.once('disconnect', () => process.exit())
  await store.start()
  process.send('ready')
}

/** While the cutoff is as far ahead as it can be, nobody logs in. */
function unlessCutOff (error: Error & { code?: string }) {
  if (error.code !== 'FST_JWT_REVOKED' && error.code !== 'FST_JWT_REVOCATION_UNAVAILABLE') throw error
}

/** HS256, as @fastify/jwt does it. */
function sign (claims: object, options: { expiresIn?: number } = {}): string {
  const { iat = Math.floor(Date.now() / 1000) } = claims as { iat?: number }
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const content = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ ...claims, iat, exp: iat + (options.expiresIn ?? 900) })}`
  return `${content}.${createHmac('sha256', SECRET!).update(content).digest('base64url')}`
}
