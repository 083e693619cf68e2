import t from 'tap'
import { Signing, type SignRequest } from '../../lib/domain/signing.ts'
import type { RevocationContext } from '../../lib/domain/decorator.ts'
import { Clock, RULES, signedBy, tokenOf } from '../support/domain.ts'

const clock = new Clock(1_800_000_000_000)
const claims = { jti: 'a', sub: 'alice' }
const request = (more: Partial<SignRequest> = {}): SignRequest => ({ method: 'refresh', given: claims, options: {}, ...more })

function signing (sign = signedBy(clock), rules: Partial<RevocationContext['rules']> = {}) {
  return new Signing({ rules: { ...RULES, ...rules }, clock, sign })
}

t.test('a token ends with its session at the latest, whatever would make it end later', async (t) => {
  const { seconds } = clock
  const rows: Array<[end: number | undefined, options: SignRequest['options'], exp: number]> = [
    [undefined, {}, seconds + 900],
    [seconds + 901, {}, seconds + 900],
    [seconds + 900, {}, seconds + 900],
    [seconds + 899, {}, seconds + 899],
    [seconds + 1, {}, seconds + 1],
    [seconds + 60, { expiresIn: 3000 }, seconds + 60],
    [seconds + 60, { expiresIn: 30 }, seconds + 30]
  ]
  for (const [end, options, exp] of rows) {
    t.match(await signing().sign(claims, request({ end, options })), { claims: { exp, iat: seconds, jti: 'a' } }, `${end} ${JSON.stringify(options)}`)
  }
  await t.rejects(signing().sign(claims, request({ end: seconds })), {
    code: 'FST_JWT_REVOCATION_UNAVAILABLE', cause: new Error(`the token would begin at ${seconds}, and its session ends at ${seconds}`)
  })
})

t.test('a token that never ends gets the end of its session; one without iat can not', async (t) => {
  const { seconds } = clock
  const endless = signing((claims, options) => {
    const { expiresIn } = (options ?? {}) as { expiresIn?: number }
    return tokenOf({ ...claims, iat: seconds, ...(expiresIn !== undefined && { exp: seconds + expiresIn }) })
  }, { maxTokenLifetime: null })
  t.match((await endless.sign(claims, request({ end: seconds + 60 }))).claims, { exp: seconds + 60 })
  t.notOk('exp' in (await endless.sign(claims, request())).claims)
  const timeless = signing((claims) => tokenOf({ ...claims, exp: seconds + 60 }), { maxTokenLifetime: null })
  await t.resolves(timeless.sign(claims, request()))
  await t.rejects(timeless.sign(claims, request({ end: seconds + 900 })), {
    name: 'TypeError', message: 'refresh() gives no token of a session without an iat; sign without "noTimestamp"'
  })
})

t.test('a message names the method, and the namespace that is none', async (t) => {
  await t.rejects(signing().sign({ ...claims, sub: {} }, request()), { name: 'TypeError', message: /^refresh\(\) signed a token that would not be accepted: its sub/ })
  await t.rejects(signing().sign(claims, request({ method: 'issue', namespace: 'admin' })), { name: 'TypeError', message: /^issue\(\) takes as namespace/ })
})
