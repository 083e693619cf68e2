import fc from 'fast-check'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import t from 'tap'
import { fromWords } from '../../lib/stores/redis/log.ts'
import { bearer, buildApp, inSeconds, ownPrefix } from '../support/app.ts'
import { character } from '../support/character.ts'
import { ask, forge } from '../support/flood.ts'
import { eventually, startRedis } from '../support/redis.ts'
import { runs } from '../support/runs.ts'

const server = await startRedis(t)
const redis = new Redis(server.url)
t.teardown(() => redis.disconnect())

const HISTORY = '/v1/jwt/history'

const HOSTILE = [
  '\n', '\r\n', '\r', '\0', '\b', '\t', '\v', '\f', '\u001b[2J\u001b[31m', '\u001b]8;;http://x\u0007', '\u0085', '\u2028', '\u2029', '\u202e', '\u200b', '\ufeff', '\ud83d\ude00',
  '"', "'", '`', '\\', '\\"', '\\n', '\\u0000', '"}\n{"level":60,"event":"authn_token_revoked","msg":"forged"}\n', '","msg":"forged","x":"', '</script>', '${jndi:ldap://x}', // eslint-disable-line no-template-curly-in-string
  '%s', '%j', '%o', '%d%i%f%c', '%0a', '%0d%0A', '%25', '%', ' ', '  ', ' revoked:forged 1 2 3 0-0  ', 'revoked:', '0-0', '-', '+', '*', '$', ':', '/', '{', '}', '=', ';', '\n0-0 '
]

/** A name as its holder would like it: of 255 characters at most, well-formed, and recognizable. */
const hostile = fc.array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: character, maxLength: 8 })), { maxLength: 20 })
  .map((pieces) => `chosen${pieces.join('')}`.slice(0, 255))
  .filter((name) => name.isWellFormed())
const names = fc.record({ jti: hostile, iss: hostile, sub: hostile }, { requiredKeys: ['jti'] })

type Names = { jti: string, iss?: string, sub?: string }

const tokenOf = (names: Names, more: object = {}) => forge({ ...names, iat: inSeconds(0), exp: inSeconds(900), ...more })

/** Everything that is told of a token and its subject: two revocations, a use of it, a cutoff and the use of a token that this ended. */
async function causeEvents (app: FastifyInstance, { jti, iss, sub }: Names) {
  const claims = { jti, ...(iss !== undefined && { iss }), ...(sub !== undefined && { sub }) }
  const token = tokenOf(claims)
  const path = `${HISTORY}/${encodeURIComponent(jti)}`
  const first = await ask(app, path, bearer(token), 'DELETE')
  const second = await ask(app, path, bearer(token), 'DELETE')
  const used = await ask(app, '/me', bearer(token))
  const answers = [second, used]
  if (sub !== undefined) {
    const other = tokenOf({ ...claims, jti: `${jti.slice(0, 254)}.` })
    answers.push(await ask(app, `${HISTORY}/sub/${encodeURIComponent(sub)}`, bearer(other), 'DELETE'))
    answers.push(await ask(app, '/public', bearer(other)))
  }
  return { first, answers }
}

t.test('whatever names a token has, each event is one line of JSON that has them as they are, in their fields', async (t) => {
  let written = ''
  const stream = { write (text: string) { written += text } }
  const app = await buildApp(t, {
    fastify: { logger: { level: 'info', stream }, disableRequestLogging: true, routerOptions: { maxParamLength: 3000 } }
  })
  written = ''
  await fc.assert(fc.asyncProperty(names, async (given) => {
    // A jti that was revoked by an earlier run is told of no more.
    const claims = { ...given, iss: `${given.iss ?? ''}${Math.random()}` }
    written = ''
    await causeEvents(app, claims)
    const lines = written.split('\n')
    assert.equal(lines.pop(), '', 'the last line is whole')
    // eslint-disable-next-line no-control-regex
    assert.doesNotMatch(written.replaceAll('\n', ''), /[\u0000-\u001f]/)
    const events = lines.map((line) => JSON.parse(line)).filter(({ event }) => event !== undefined)
    const { jti, iss, sub } = claims
    const by = { jti, iss, ...(sub !== undefined && { sub }) }
    const other = `${jti.slice(0, 254)}.`
    const subject = sub !== undefined && { sub }
    const fields = events.map(({ event, msg, jti, iss, sub, by }) =>
      ({ event, msg, ...(jti !== undefined && { jti }), ...(iss !== undefined && { iss }), ...(sub !== undefined && { sub }), ...(by && { by }) }))
    const REVOKED = { event: 'authn_token_revoked', msg: 'jwt revocation: revoked' }
    const REUSED = { event: 'authn_token_reuse', msg: 'jwt revocation: a revoked token was used' }
    assert.deepEqual(fields, [
      { ...REVOKED, jti, iss, by },
      { ...REUSED, jti, iss, ...subject },
      ...sub === undefined
        ? []
        : [{ ...REVOKED, iss, sub, by: { jti: other, iss, sub } }, { ...REUSED, jti: other, iss, sub }]
    ])
  }), { numRuns: runs(150) })
})

t.test('no header, no error and no message holds anything that the holder chose, whichever rule the token breaks', async (t) => {
  const app = await buildApp(t, { fastify: { routerOptions: { maxParamLength: 3000 } } })
  const broken = fc.constantFrom<object>(
    {}, { exp: undefined }, { exp: 1 }, { exp: inSeconds(1e9) }, { iat: -1e9 }, { jti: ['chosen'] }, { jti: undefined }, { iss: { chosen: 'chosen' } }, { sub: ['chosen'] },
    { iss: 'chosen'.repeat(200) }, { jti: 'chosen'.repeat(50) }, { sub: 'chosen'.repeat(200) }, { nbf: inSeconds(60) }, { exp: 'chosen' }
  )
  await fc.assert(fc.asyncProperty(names, broken, hostile, async (claims, more, extra) => {
    const token = tokenOf(claims, { [extra]: extra, ...more })
    const { answers } = await causeEvents(app, claims)
    for (const [url, method] of [['/me'], ['/public'], [HISTORY], [`${HISTORY}/chosen`, 'DELETE'], [`${HISTORY}/id/${encodeURIComponent(extra)}`, 'DELETE'], [`${HISTORY}/sub/x?iss=${encodeURIComponent(extra)}`, 'DELETE']] as const) {
      answers.push(await ask(app, url, bearer(token), method))
    }
    for (const { statusCode, headers, payload } of answers) {
      // Of whom a token is good, the answer is about it.
      if (statusCode === 200) continue
      const { message } = JSON.parse(payload)
      assert.match(message, /^[\w ,.:/'-]+$/, 'a sentence of ours, or of @fastify/jwt')
      assert.doesNotMatch(message, /chosen/)
      assert.doesNotMatch(JSON.stringify(headers), /chosen/)
      const challenge = headers['www-authenticate']
      if (challenge !== undefined) assert.match(String(challenge), /^Bearer error="invalid_token", error_description="[-A-Za-z0-9:, ]+"$/)
    }
  }), { numRuns: runs(100) })
})

/** As a logger for the eye prints: the message as it is, and the fields behind it. */
function plainLogger () {
  const messages: string[] = []
  const lines: string[] = []
  const print = (fields: unknown, message?: string) => {
    const text = typeof fields === 'string' ? fields : message ?? ''
    messages.push(text)
    lines.push(`${text} ${inspect(fields, { breakLength: Infinity, compact: true, depth: 10 })}`)
  }
  const logger = { level: 'trace', fatal: print, error: print, warn: print, info: print, debug: print, trace: print, silent () {}, child: () => logger }
  return { logger: logger as unknown as FastifyBaseLogger, messages, lines }
}

t.test('a logger that prints the message as it is prints nothing that the holder chose in it, and a line a event', async (t) => {
  const { logger, messages, lines } = plainLogger()
  const app = await buildApp(t, {
    fastify: { loggerInstance: logger, disableRequestLogging: true, routerOptions: { maxParamLength: 3000 } },
    after (app) {
      app.revocation.on('revoked', () => { throw new Error('a listener of the application') })
    }
  })
  await fc.assert(fc.asyncProperty(names, async (given) => {
    messages.length = lines.length = 0
    const claims = { ...given, iss: `${given.iss ?? ''}${Math.random()}` }
    await causeEvents(app, claims)
    await app.revocation.isRevoked({ ...claims, iat: inSeconds(0), exp: inSeconds(60) })
    assert.ok(messages.length >= 2)
    for (const message of messages.filter((message) => message.startsWith('jwt revocation'))) {
      assert.match(message, /^jwt revocation: [\w ',;:-]+$/)
      assert.doesNotMatch(message, /chosen/)
    }
    for (const line of lines.filter((line) => line.includes('authn_token'))) assert.equal(line.split(/[\n\r\u2028\u2029]/).filter((part) => part.startsWith('jwt revocation')).length, 1)
  }), { numRuns: runs(100) })
})

t.test('a store that fails while a token with odd names is checked or revoked tells nothing of them', async (t) => {
  const { logger, lines } = plainLogger()
  const own = await startRedis(t)
  const app = await buildApp(t, {
    fastify: { loggerInstance: logger, disableRequestLogging: true, routerOptions: { maxParamLength: 3000 } },
    revocation: { redis: own.url, storeTimeout: 2000 }
  })
  for (const [i, odd] of HOSTILE.entries()) {
    const claims = { jti: `chosen${odd}${i}`, iss: `chosen${odd}`, sub: `chosen${odd}` }
    // Of another type: the scripts fail, and the client's errors carry their command.
    const identity = `${encodeURIComponent(claims.iss)}/${encodeURIComponent(claims.jti)}`
    await own.cli('LPUSH', `jwt:revoked:${identity}`, 'x')
    await t.rejects(app.revocation.revoke(claims), { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE' })
  }
  // One key that is in somebody else's use loses no store: a user that may not write does.
  await own.cli('ACL', 'SETUSER', 'default', '-set')
  await t.rejects(app.revocation.revoke({ jti: 'chosen', iss: 'chosen' }), { statusCode: 503, code: 'FST_JWT_REVOCATION_UNAVAILABLE' })
  t.ok(lines.some((line) => line.includes('the store is lost')))
  for (const line of lines) t.notMatch(line, /chosen/)
})

t.test('names forge neither an entry of the log of Redis nor a word of one: it reads back as it was written', async (t) => {
  const keyPrefix = ownPrefix()
  const app = await buildApp(t, { fastify: { routerOptions: { maxParamLength: 3000 } }, revocation: { redis, keyPrefix, storeTimeout: 10_000 } })
  let last = '-'
  await fc.assert(fc.asyncProperty(names, async (given) => {
    const { jti, sub, iss } = { ...given, iss: `${given.iss ?? ''}${Math.random()}` }
    const issued = await app.revocation.record({ jti, iss, ...(sub !== undefined && { sub }), iat: inSeconds(0), exp: inSeconds(900) })
    await app.revocation.revoke({ jti, iss })
    if (sub !== undefined) await app.revocation.revokeSubject(sub, { iss })
    const rows = await redis.xrange(`${keyPrefix}log`, last === '-' ? '-' : `(${last}`, '+') as unknown as Array<[string, string[]]>
    assert.equal(rows.length, sub === undefined ? 1 : 2)
    const identity = `${encodeURIComponent(iss)}/${encodeURIComponent(jti)}`
    for (const [i, [id, fields]] of rows.entries()) {
      assert.equal(fields.length, 2)
      assert.equal(fields[0], 'entry')

      assert.match(fields[1]!, /^[\u0020-\u007e]+$/)
      const { entry, prev } = fromWords(fields[1]!, true)!
      assert.equal(prev, last === '-' ? '0-0' : last)
      const { at, until, exp, ...told } = entry!
      assert.deepEqual(told, i === 0
        ? { kind: 'revoked', name: identity, id: issued.id, ...(sub && { sub }) }
        : { kind: 'cutoff', name: `${encodeURIComponent(iss)}/${encodeURIComponent(sub!)}` })
      assert.ok(at <= inSeconds(0) + 200 && until! > inSeconds(800) && (exp === null || i === 0))
      last = id
    }
  }), { numRuns: runs(150) })
})

t.test('an entry whose name can not be decoded does not cost a replica those behind it', async (t) => {
  const keyPrefix = ownPrefix()
  const options = { redis, keyPrefix, storeTimeout: 10_000 }
  const replica = await buildApp(t, { revocation: { ...options, mode: 'replica', maxStaleness: 60_000 } })
  await eventually('it follows', async () => replica.revocation.status().stalenessMs !== undefined)
  const until = inSeconds(900)
  const entry = (name: string, prev: string) => `revoked:${name} ${inSeconds(0)} ${until} ${until} ${prev}  `
  // Both in one read.
  const answers = await redis.multi()
    .xadd(`${keyPrefix}log`, '1-1', 'entry', entry('50%', '0-0'))
    .xadd(`${keyPrefix}log`, '1-2', 'entry', entry('behind', '1-1'))
    .set(`${keyPrefix}revoked:behind`, '{}')
    .exec()
  t.same(answers!.map(([error]) => error), [null, null, null])
  await eventually('it has read them', async () => replica.revocation.status().entries! >= 1)
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal((await ask(replica, '/me', bearer(tokenOf({ jti: 'behind' })))).statusCode, 401)
})

// The server of this file keeps the process, and so tap, from an end of its own.
t.end()
