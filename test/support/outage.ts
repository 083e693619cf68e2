import type { FastifyInstance } from 'fastify'
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { Redis as Redis6 } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { Redis as Valkey } from 'iovalkey'
import type { Test } from 'tap'
import type { RedisClient, RevocationOptions } from '../../lib/index.ts'
import { bearer, buildApp, ownPrefix } from './app.ts'
import { lived } from './lived.ts'
import { eventually } from './redis.ts'

/** So long that a busy machine answers within it. */
export const STORE_TIMEOUT = 1000
/** What P4 allows an answer beyond `storeTimeout`, and some turns of the event loop. */
export const MARGIN = 200

export type GivenClient = Redis6 | Redis5 | Valkey

/** Clients as an application makes them: with default options, and a listener so that they print nothing. */
export const GIVEN_CLIENTS: Record<string, (url: string) => GivenClient> = {
  'ioredis 6': (url) => new Redis6(url),
  'ioredis 5': (url) => new Redis5(url),
  iovalkey: (url) => new Valkey(url)
}

export function givenClient (t: Test, make: (url: string) => GivenClient, url: string): GivenClient {
  const client = make(url)
  // A TLS socket that is left while it refuses a certificate fails twice, and the client listens once.
  client.on('error', () => { (client as unknown as { stream?: Socket }).stream?.on('error', () => {}) })
  t.teardown(() => client.disconnect())
  return client
}

export const listenersOf = (client: GivenClient) =>
  Object.fromEntries(client.eventNames().map((name) => [String(name), client.listenerCount(name as string)]))

export interface Outcome {
  /** What HTTP answers or would answer; 200 for a call that resolves. */
  status: number
  code?: string
  message?: string
  retryAfter?: string
  cause?: unknown
  /** As the process lived it. */
  elapsed: number
}

type Operation = (rig: Rig) => Promise<Outcome>

/** Everything that asks the store about a token, in the order of the contract. */
export const CHECKS: Record<string, Operation> = {
  'GET /me': (rig) => rig.http('GET', '/me', rig.sign()),
  'GET /public with a token': (rig) => rig.http('GET', '/public', rig.sign())
}

/** Those that revoke over HTTP check the token that speaks first. */
export const REVOKE_ROUTES: Record<string, Operation> = {
  'DELETE /v1/jwt/history/:jti': (rig) => {
    const jti = randomUUID()
    return rig.http('DELETE', `/v1/jwt/history/${jti}`, rig.sign({ jti }))
  },
  'DELETE /v1/jwt/history/id/:id': (rig) => rig.http('DELETE', `/v1/jwt/history/id/${randomUUID()}`, rig.sign())
}

export const REVOKE_CALLS: Record<string, Operation> = {
  'revoke()': (rig) => rig.call(() => rig.app.revocation.revoke({ jti: randomUUID() })),
  'revokeById()': (rig) => rig.call(() => rig.app.revocation.revokeById(randomUUID()))
}

export const RECORD_CALLS: Record<string, Operation> = {
  'issue()': (rig) => rig.call(() => rig.app.revocation.issue({ sub: 'alice' })),
  'record()': (rig) => rig.call(() => rig.app.revocation.record(rig.app.jwt.decode(rig.sign())!))
}

export const READ_CALLS: Record<string, Operation> = {
  'isRevoked()': (rig) => rig.call(() => rig.app.revocation.isRevoked(rig.app.jwt.decode(rig.sign())!)),
  'token()': (rig) => rig.call(() => rig.app.revocation.token(randomUUID()))
}

export const CALLS = { ...REVOKE_CALLS, ...RECORD_CALLS, ...READ_CALLS }
export const OPERATIONS = { ...CHECKS, ...REVOKE_ROUTES, ...CALLS }

/** An application with what it logs, emits and answers. */
export class Rig {
  app!: FastifyInstance
  /** Our own log lines on the store. */
  readonly lines: Array<{ level: number, msg: string, err?: object }> = []
  readonly events: string[] = []
  readonly #causes = new Map<string, unknown>()

  static async start (t: Test, revocation: RevocationOptions) {
    const rig = new Rig()
    const write = (line: string) => {
      const entry = JSON.parse(line)
      if (entry.msg.startsWith('jwt revocation: the store is')) rig.lines.push(entry)
    }
    rig.app = await buildApp(t, {
      fastify: { logger: { stream: { write } }, requestIdHeader: 'x-request-id' },
      revocation: { keyPrefix: ownPrefix(), storeTimeout: STORE_TIMEOUT, ...revocation },
      before (app) {
        app.addHook('onError', async (request, _reply, error) => { rig.#causes.set(request.id, error.cause) })
      },
      after (app) {
        app.revocation.on('storeLost', () => rig.events.push('storeLost'))
        app.revocation.on('storeBack', () => rig.events.push('storeBack'))
      }
    })
    // The first request of a process is slower than any later one.
    await rig.http('GET', '/public')
    return rig
  }

  /** One whose store answers: the first answers may take a loaded machine longer than storeTimeout. */
  static async startWell (t: Test, revocation: RevocationOptions) {
    const rig = await Rig.start(t, revocation)
    await eventually('the store is there', async () => rig.available)
    await eventually('it answers', async () => (await rig.http('GET', '/me', rig.sign())).status === 200 && rig.available)
    rig.lines.length = 0
    rig.events.length = 0
    return rig
  }

  get available () {
    return this.app.revocation.status().available
  }

  sign (claims: object = {}): string {
    // An augmentation of FastifyJWT anywhere in the program, such as an example's, narrows what may be signed.
    const sign: (claims: any) => string = this.app.jwt.sign
    return sign({ sub: 'alice', jti: randomUUID(), ...claims })
  }

  async http (method: 'GET' | 'DELETE', url: string, token?: string): Promise<Outcome> {
    const id = randomUUID()
    const started = lived()
    const response = await this.app.inject({ method, url, headers: { 'x-request-id': id, ...(token !== undefined && bearer(token)) } })
    const elapsed = lived() - started
    const { code, message } = response.json()
    const retryAfter = response.headers['retry-after']
    return outcome({ status: response.statusCode, code, message, retryAfter, cause: this.#causes.get(id), elapsed })
  }

  async call (operation: () => Promise<unknown>): Promise<Outcome> {
    const started = lived()
    try {
      await operation()
      return { status: 200, elapsed: lived() - started }
    } catch (error) {
      const { statusCode: status, code, message, headers, cause } = error as Record<string, any>
      return outcome({ status, code, message, retryAfter: headers?.['retry-after'], cause, elapsed: lived() - started })
    }
  }

  /** All of them at once, several times over: what each gave, round by round. */
  async measure (operations: Record<string, Operation>, rounds = 2): Promise<Map<string, Outcome[]>> {
    const outcomes = new Map(Object.keys(operations).map((name) => [name, [] as Outcome[]]))
    for (let i = 0; i < rounds; i++) {
      await Promise.all(Object.entries(operations).map(async ([name, operation]) => outcomes.get(name)!.push(await operation(this))))
    }
    return outcomes
  }
}

function outcome ({ status, elapsed, ...rest }: Record<keyof Outcome, any>): Outcome {
  return { status, elapsed, ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) }
}

/** 503 as P4 says, its time apart. */
export function isUnavailable (t: Test, { elapsed, cause, ...answer }: Outcome, what: string) {
  t.same(answer, {
    status: 503,
    code: 'FST_JWT_REVOCATION_UNAVAILABLE',
    message: 'Token revocation is unavailable, try again',
    retryAfter: '1'
  }, `${what} is unavailable`)
  t.type(cause, Error, `${what} says why`)
}

/** The quickest of them: a process that shares its cores is late now and then, one that waits too long always is. */
export function isInTime (t: Test, outcomes: Outcome[], what: string, limit = STORE_TIMEOUT) {
  const found = outcomes.map(({ elapsed }) => elapsed)
  t.ok(Math.min(...found) <= limit + MARGIN, `${what} is answered within ${limit} + ${MARGIN} ms`, { found })
}

/** All 503, all in time. */
export async function areUnavailable (t: Test, rig: Rig, operations: Record<string, Operation>) {
  for (const [what, outcomes] of await rig.measure(operations)) {
    for (const outcome of outcomes) isUnavailable(t, outcome, what)
    isInTime(t, outcomes, what)
  }
}

/** What a given client is to the plugin, once for all: the three of them are typed apart. */
export const asRedis = (client: GivenClient): RedisClient => client
