import t from 'tap'
import { Pace } from '../../../lib/stores/redis/pace.ts'

const ENOUGH = 8
const LEARNS_EVERY = 200
const MAX_VAIN = 4

/** What one batch waited for, which then had so many checks; `null`: it was cut short. */
function batch (pace: Pace, checks: number | null): number {
  pace.begin()
  const { enough } = pace
  if (checks !== null) {
    if (checks >= enough) pace.filled()
    else pace.paused(checks)
  }
  return enough
}

for (const came of [1, 2, 5, 7, ENOUGH]) {
  t.test(`where ${came} come in a pause, a batch waits for as many, and one in ${LEARNS_EVERY} for ${ENOUGH}`, async (t) => {
    const pace = new Pace()
    for (let round = 0; round < 3; round++) {
      const waited = Array.from({ length: LEARNS_EVERY }, () => batch(pace, came))
      t.strictSame(waited, [ENOUGH, ...Array(LEARNS_EVERY - 1).fill(came)])
    }
  })
}

t.test(`after ${MAX_VAIN} pauses in a row that brought fewer, it waits for as many as the fullest of them brought`, async (t) => {
  for (const [brought, then] of [[[1, 1, 1, 1], 1], [[1, 3, 2, 1], 3], [[4, 1, 1, 1], 4]] as const) {
    const pace = new Pace()
    t.equal(batch(pace, 5), ENOUGH)
    t.strictSame(brought.map((checks) => batch(pace, checks)), [5, 5, 5, 5])
    t.equal(batch(pace, then), then)
  }
})

t.test('one batch that gets what it waits for, or that learns, ends the row', async (t) => {
  const pace = new Pace()
  batch(pace, 5)
  for (let round = 0; round < 5; round++) {
    t.strictSame([2, 2, 2, 5].map((checks) => batch(pace, checks)), [5, 5, 5, 5])
  }
  const learned = new Pace()
  batch(learned, 5)
  for (let i = 1; i < LEARNS_EVERY - 1; i++) batch(learned, 5)
  batch(learned, 2)
  t.equal(batch(learned, 3), ENOUGH)
  t.strictSame([2, 2, 2].map((checks) => batch(learned, checks)), [3, 3, 3])
  t.equal(batch(learned, 3), 3)
})

t.test('a batch that was cut short teaches nothing: the next one learns', async (t) => {
  const pace = new Pace()
  t.strictSame([null, null, 3, null, 3].map((checks) => batch(pace, checks)), [ENOUGH, ENOUGH, ENOUGH, 3, 3])
})
