import tap from '../../.tap/bundled/node_modules/@tapjs/all/index.js'
import { setRoot } from './root.js'

/*
 * Runs several test files in one process, one after another: each is a test of tap's root, with a teardown of its own.
 * Starting a process, with tap and Fastify and ioredis, takes longer than most files.
 *
 *   TEST_BATCH='{ "seconds": 600, "folder": ".tap/bundled", "files": ["test/x.test.ts"] }' node test/support/batch.js
 *
 * `seconds` is what a file may take, and `folder` has the JavaScript of the files.
 */

// Not from the command line: tap names the folder of a test's fixtures after that.
const { seconds, folder, files } = JSON.parse(process.env.TEST_BATCH)

for (const file of files) {
  let counts
  // A test may move the clock of `performance`.
  const started = process.uptime()
  await tap.test(file, { timeout: seconds * 1000 }, async (t) => {
    counts = t.counts
    setRoot(t)
    await import(new URL(`${folder}/${file.replace(/ts$/, 'js')}`, `file://${process.cwd()}/`).href)
  })
  tap.comment(`ends: ${JSON.stringify({ file, counts: { ...counts }, took: 1000 * (process.uptime() - started) })}`)
}
