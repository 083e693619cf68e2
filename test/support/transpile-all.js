import { bundlePrograms, transpileAll } from './transpile.js'

/*
 * Before the tests: each of their processes would find at least its own file changed, and load the compiler for it.
 *
 *   node test/support/transpile-all.js       everything, for the hook as well
 *   node test/support/transpile-all.js 0 2   the first of two parts, without the hook
 */
const [which, of] = process.argv.slice(2).map(Number)
if (of === undefined) {
  await transpileAll({ hook: true })
  await bundlePrograms()
} else await transpileAll({ part: [which, of] })
