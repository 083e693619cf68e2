import { transpileAll } from './transpile.js'

// Before the run for the coverage: each of its processes would find at least its own file changed, and load the compiler.
await transpileAll()
