import tap from 'tap'
import { setRoot } from './root.js'

/*
 * Runs several test files in one process, one after another: each is a test of tap's root, with a teardown of its own.
 * Starting a process, with tap and Fastify and ioredis, takes longer than most files.
 *
 *   TEST_BATCH='{ "seconds": 600, "folder": ".tap/transpiled", "files": ["test/x.test.ts"] }' node test/support/batch.js
 *
 * `seconds` is what a file may take, and `folder` has the JavaScript of the files.
 */

// Taken before a test moves it.
const now = performance.now.bind(performance)
// Not from the command line: tap names the folder of a test's fixtures after that.
const { seconds, folder, files } = JSON.parse(process.env.TEST_BATCH)
const placeOf = (file) => new URL(`${folder}/${file.replace(/ts$/, 'js')}`, `file://${process.cwd()}/`).href

// These come before the plugin, which takes its clock and its timers when it is loaded.
for (const name of ['monotonic', 'intervals', 'time-limits']) await import(placeOf(`test/support/${name}.ts`))

for (const file of files) {
  let counts
  const started = now()
  await tap.test(file, { timeout: seconds * 1000 }, async (t) => {
    counts = t.counts
    setRoot(t)
    await import(placeOf(file))
  })
  tap.comment(`ends: ${JSON.stringify({ file, counts: { ...counts }, took: now() - started })}`)
}
