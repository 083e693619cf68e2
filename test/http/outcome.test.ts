import t from 'tap'
import { Verification } from '../../lib/http/outcome.ts'
import { systemClock } from '../../lib/time.ts'

let now = 0
const clock = { ...systemClock, monotonic: () => now }

t.test('P1 a verification is shared for 100 ms, and not across a revocation', async (t) => {
  const verification = new Verification('a token', clock)
  t.equal(verification.isFresh(1), true, 'its check is yet to come')
  t.equal(verification.isFresh(2), true, 'and will see what was revoked meanwhile')
  verification.epoch = 2
  t.equal(verification.isFresh(2), true, 'its check has begun')
  t.equal(verification.isFresh(3), false, 'and may miss what is revoked now, although nobody has its answer')
  now += 1000
  t.equal(verification.isFresh(2), true, 'it is not older than its answer')
  verification.checked(null, null)
  t.equal(verification.isFresh(2), true)
  t.equal(verification.isFresh(3), false)
  now += 99
  t.equal(verification.isFresh(2), true)
  now += 1
  t.equal(verification.isFresh(2), false)
})

t.test("what @fastify/jwt refuses is asked for again, and a refusal of the plugin's own is shared", async (t) => {
  const forged = new Verification('a forged token', clock)
  t.equal(forged.isFresh(1), true, 'while it is under way')
  forged.fail(new Error('forged'))
  t.equal(forged.isFresh(1), false)
  const raw = new Verification('a token that fast-jwt alone refused', clock)
  raw.isRaw = true
  raw.fail(new Error('forged'))
  t.equal(raw.isFresh(1), true, 'a static secret gives no other answer later')
  const revoked = new Verification('a revoked token', clock)
  revoked.epoch = 1
  revoked.checked(new Error('revoked'), null)
  t.equal(revoked.isFresh(1), true)
  t.equal(revoked.isFresh(2), false)
})

t.test('whoever asks for an outcome that is there is called back at once', async (t) => {
  const verification = new Verification('a token', clock)
  const seen: unknown[] = []
  verification.whenSettled(({ kind }) => seen.push(kind))
  t.strictSame(seen, [])
  verification.checked(null, null)
  verification.whenSettled(({ kind }) => seen.push(kind))
  t.strictSame(seen, ['accepted', 'accepted'])
})
