import t from 'tap'
import { placeExamples } from '../support/examples.ts'
import { mistakesIn } from '../support/snippets.ts'

t.test('each example of the public types compiles as a user would write it', async (t) => {
  const placed = await placeExamples(t, 'redis://127.0.0.1:6379')
  t.strictSame(await mistakesIn(placed.map(({ path }) => path)), [])
})
