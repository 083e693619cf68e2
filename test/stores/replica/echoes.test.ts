import t from 'tap'
import type { Written } from '../../../lib/stores/store.ts'
import { Denylist } from '../../../lib/stores/replica/denylist.ts'
import { Echoes } from '../../../lib/stores/replica/echoes.ts'
import type { Entry } from '../../../lib/stores/entry.ts'

/*
 * Goal: listeners hear of a revocation once, whether its answer or the log brings it first (P11).
 * Method: the order of the two is the test's.
 */

const entry = (name: string, fields: Partial<Entry> = {}): Entry => ({ kind: 'revoked', name, at: 5, exp: null, until: null, ...fields })

const written = (name: string): Written => ({ standing: entry(name), first: true, before: null })

function echoes () {
  const heard: string[] = []
  const told: Array<[name: string, isHeard: boolean]> = []
  const subject = new Echoes(new Denylist(() => 5), { onEntry: ({ name }) => heard.push(name) })
  return {
    heard,
    told,
    hear: (name: string) => subject.onEntry(entry(name)),
    /** A call: `write` is told how to say that it made what stands. */
    during: (name: string, write: (made: () => void) => Promise<void>) =>
      subject.during(entry(name), (standing) => standing, (standing, isHeard) => told.push([standing.name, isHeard]), async (made) => {
        await write(() => made(entry(name)))
        return written(name)
      })
  }
}

const FAILS = async () => { throw new Error('no answer') }

t.test('what a call made is told by the call, and its echo by nobody', async (t) => {
  const { heard, told, hear, during } = echoes()
  await during('a', async (made) => {
    hear('a')
    made()
  })
  t.strictSame([told, heard], [[['a', false]], []])
})

t.test('what a call made before it failed is told by the call, and its echo by nobody', async (t) => {
  const { heard, told, hear, during } = echoes()
  await t.rejects(during('a', async (made) => {
    made()
    hear('a')
    await FAILS()
  }), { message: 'no answer' })
  t.strictSame([told, heard], [[['a', false]], []])
})

t.test('what a failed call has written is heard from the log, and its retry says so', async (t) => {
  const { heard, told, hear, during } = echoes()
  await t.rejects(during('a', FAILS), { message: 'no answer' })
  hear('a')
  await during('a', async (made) => made())
  t.strictSame([told, heard], [[['a', true]], ['a']])
})

t.test('a call whose caller wants to know nothing is known all the same', async (t) => {
  const denylist = new Denylist(() => 5)
  const subject = new Echoes(denylist, {})
  const answer = await subject.during(entry('a'), (standing) => standing, undefined, async (made) => {
    made(entry('a'))
    return written('a')
  })
  t.strictSame(answer, written('a'))
  t.equal(denylist.size, 1)
})

t.test('of the last 10,000 calls that failed it is known what was heard of them', async (t) => {
  const { heard, told, hear, during } = echoes()
  await during('long ago', FAILS).catch(() => {})
  for (let i = 0; i < 10_000; i++) await during(`${i}`, FAILS).catch(() => {})
  for (const name of ['0', '9999', 'long ago']) {
    hear(name)
    await during(name, async (made) => made())
  }
  t.strictSame(heard, ['0', '9999', 'long ago'])
  t.strictSame(told, [['0', true], ['9999', true], ['long ago', false]])
})
