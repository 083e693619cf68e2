import { holdIntervals } from '../../support/intervals.ts'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { NoAnswer } from '../../../lib/errors.ts'
import { Link } from '../../../lib/stores/redis/link.ts'
import { manualClock } from '../../support/clock.ts'

const STORE_TIMEOUT = 60_000

function linkOf ({ timeout = STORE_TIMEOUT, isRenewed = true } = {}) {
  const { clock, pass } = manualClock()
  const lost: unknown[] = []
  const link = new Link({ clock, timeout, wereRenewed: () => isRenewed, probe: async () => {}, onLost: (error) => lost.push(error), onBack () {} })
  t.teardown(() => link.health.close())
  return { pass, link, lost }
}

const needs = async () => {}

t.test('P4 operations that share a budget have the time of one together', async (t) => {
  const { pass, link, lost } = linkOf()
  const budget = link.budget()
  const passes = (time: number) => async () => pass(time)
  await link.run(passes(20_000), { needs, budget })
  t.equal(budget.left, 40_000, 'the time of the first is gone')
  pass(30_000)
  t.equal(budget.left, 40_000, 'time between two of them does not count')
  await link.run(async () => { pass(15_000); throw new Error('fails') }, { needs, budget }).catch(() => {})
  t.equal(budget.left, 25_000, 'a failure takes its time as well')
  await link.run(passes(70_000), { needs, budget })
  t.equal(budget.left, 1, 'the next one fails at once, if Redis does not answer at once')
  t.equal(lost.length, 1, 'only the failure lost the store')
  const silent = link.run(() => new Promise(() => {}), { needs, budget })
  pass(1)
  await t.rejects(silent, new NoAnswer('Redis gave no answer within 60000 ms'))
})

t.test('an operation without a budget has the whole time', async (t) => {
  const { pass, link } = linkOf()
  await link.run(async () => pass(50_000), { needs })
  t.equal(link.budget().left, STORE_TIMEOUT)
})

t.test('P4 what a client never answers counts no more once the store is back', async (t) => {
  const intervals = holdIntervals(t)
  const { pass, link, lost } = linkOf()
  const begin = (count: number) => Array.from({ length: count }, () => link.beginRead(needs, () => {}))
  const ends = begin(1000)
  for (let i = 0; i < 2000; i++) link.run(() => new Promise(() => {}), { needs }).catch(() => {})
  t.ok(link.refusal('reads'), 'as many as may be')
  t.ok(link.refusal('operations'))
  pass(STORE_TIMEOUT)
  await turn()
  t.equal(lost.length, 1)
  for (let second = 0; second < 3; second++) {
    intervals.pass()
    await turn()
  }
  t.ok(link.health.available)
  t.equal(link.refusal('reads'), undefined)
  t.equal(link.refusal('operations'), undefined)
  begin(1000)
  for (const end of ends) end()
  t.ok(link.refusal('reads'), 'an answer that comes after all is none to a later read')
})

t.test('P4 what a connection that stands still owes is bounded, however often the store is back', async (t) => {
  const intervals = holdIntervals(t)
  const { pass, link } = linkOf({ isRenewed: false })
  for (let i = 0; i < 1000; i++) link.beginRead(needs, () => {})
  pass(STORE_TIMEOUT)
  await turn()
  for (let second = 0; second < 3; second++) {
    intervals.pass()
    await turn()
  }
  t.ok(link.health.available)
  t.ok(link.refusal('reads'))
})
