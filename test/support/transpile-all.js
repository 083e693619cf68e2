import { transpileAll } from './transpile.js'

// Before the tests: each of their processes would find at least its own file changed, and load the compiler for it.
await transpileAll({ hook: true })
