import { resolve } from 'node:path'
import { transpileAll, transpiled } from './transpile.js'

/*
 * `node test/support/run.js FILE` runs TypeScript of test/support as a process of its own. With a hook in place of it
 * Node.js would take twice as long to load what the program imports.
 */
await transpileAll('lib', 'test/support')
const { program } = await transpiled(resolve(process.argv[2]))
await import(program)
