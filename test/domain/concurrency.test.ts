import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { answerOf, bearer, buildApp, ownPrefix, REVOKED, SECRET } from '../support/app.ts'
import { bareEnv, program } from '../support/child.ts'
import type { Deed, Order } from '../support/contender.ts'
import { startRedis } from '../support/redis.ts'
import { isThorough } from '../support/runs.ts'

const PROCESSES = isThorough ? 8 : 5
const CONTENDER = join(import.meta.dirname, '..', 'support', 'contender.ts')

/** A process that is ready, and what it will have done. */
async function startContender (t: Test, env: Record<string, string>) {
  const child = spawn(...program(CONTENDER), {
    env: bareEnv(env), stdio: ['ignore', 'inherit', 'inherit', 'ipc']
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit').then(([code]) => { throw new Error(`a process ended early, with code ${code}`) })
  ended.catch(() => {})
  const [ready] = await Promise.race([once(child, 'message'), ended])
  t.equal(ready, 'ready')
  return async (order: Order): Promise<Deed[]> => {
    child.send(order)
    const [deeds] = await Promise.race([once(child, 'message'), ended])
    return deeds as Deed[]
  }
}

t.test(`${PROCESSES} processes log a subject in and out at once: nothing from before the last log-out lives, everything after it does`, async (t) => {
  const redis = await startRedis(t)
  const keyPrefix = ownPrefix()
  const env = { REDIS_URL: redis.url, KEY_PREFIX: keyPrefix, SECRET, SUBJECT: 'alice' }
  const app = await buildApp(t, { revocation: { redis: redis.url, keyPrefix, storeTimeout: 10_000 } })
  const forked = performance.now()
  const contenders = await Promise.all(Array.from({ length: PROCESSES }, () => startContender(t, env)))

  t.comment(`ready after ${Math.round(performance.now() - forked)} ms`)

  const all = async (order: Order) => (await Promise.all(contenders.map((act) => act(order)))).flat()
  // However slow the machine is, somebody logs in before all log-outs and after them.
  const [onlyLogIns, both] = [{ revoke: 0, issue: 3 }, { revoke: 4, issue: 10 }]
  const deeds = [...await all(onlyLogIns), ...await all(both), ...await all(onlyLogIns)]
  const issued = deeds.filter(({ kind }) => kind === 'issue')
  const revoked = deeds.filter(({ kind }) => kind === 'revoke')
  const lastStart = Math.max(...revoked.map(({ started }) => started))
  const lastEnd = Math.max(...revoked.map(({ ended }) => ended))
  const fates = await Promise.all(issued.map(async ({ token }) => answerOf(await app.inject({ url: '/me', headers: bearer(token!) }))))

  const before = issued.flatMap(({ ended }, i) => ended < lastStart ? [fates[i]!] : [])
  const after = issued.flatMap(({ started }, i) => started > lastEnd ? [fates[i]!] : [])
  const overlapping = deeds.filter(({ kind, started, ended }) => kind === 'issue' && revoked.some((other) => started < other.ended && ended > other.started)).length
  const span = Math.max(...revoked.map(({ cutoff }) => cutoff!)) - Math.floor(Date.now() / 1000)
  t.comment(`${issued.length} log-ins, ${overlapping} of them during one of ${revoked.length} log-outs; ${before.length} before the last, ${after.length} after it; the cutoff is ${span} s ahead`)
  t.ok(revoked.length === 4 * PROCESSES && overlapping > 0 && before.length >= 3 * PROCESSES && after.length >= 3 * PROCESSES, 'there was a contention')

  t.strictSame(before.filter(({ statusCode }) => statusCode !== 401), [], 'no token from before it is accepted')
  for (const fate of before.slice(0, 20)) t.strictSame(fate, REVOKED)
  t.strictSame(after.filter(({ statusCode }) => statusCode !== 200), [], 'every token from after it is')

  // Of those that were told the same cutoff one raised it, and the others found that it was as far ahead as it can be.
  const inOrder = revoked.toSorted((a, b) => a.cutoff! - b.cutoff!)
  const lowered = inOrder.filter((one, i) => inOrder.slice(i + 1).some((later) => later.cutoff! > one.cutoff! && later.ended < one.started))
  t.strictSame(lowered, [], 'no log-out after another has a lower one')
  const counted = revoked.reduce((sum, { revoked }) => sum + revoked!, 0)
  const dead = fates.filter(({ statusCode }) => statusCode === 401).length
  // A log-in that was under way may have been recorded, counted, and signed again.
  t.ok(counted >= before.length && counted <= dead + overlapping, 'each ended token is counted by one of them', { counted, before: before.length, dead, overlapping })
})

t.test('a subject that is ended by one application is refused by every other that shares its Redis, at once', async (t) => {
  const redis = await startRedis(t)
  const keyPrefix = ownPrefix()
  const build = () => buildApp(t, { revocation: { redis: redis.url, keyPrefix } })
  const [one, other] = await Promise.all([build(), build()])
  const get = async (token: string) => answerOf(await other.inject({ url: '/me', headers: bearer(token) }))
  for (const query of ['', '?except=current']) {
    for (let i = 0; i < 20; i++) {
      const sub = `alice-${i}`
      const { token } = await other.revocation.issue({ sub })
      t.equal((await get(token)).statusCode, 200)
      const caller = await one.revocation.issue({ sub })
      t.equal((await one.inject({ method: 'DELETE', url: `/v1/jwt/history/sub/${sub}${query}`, headers: bearer(caller.token) })).statusCode, 200)
      t.strictSame(await get(token), REVOKED)
      t.equal((await get(caller.token)).statusCode, query === '' ? 401 : 200)
    }
  }
})
