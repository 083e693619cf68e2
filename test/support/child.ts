import { execFileSync } from 'node:child_process'
import { join, relative } from 'node:path'

const ROOT = join(import.meta.dirname, '..', '..')
let transpiled = false

/**
 * The command line of Node.js for a process of its own. tap puts a loader into every process that a test starts, which
 * costs half a second of CPU and counts other lines of lib: `env` takes it out again.
 */
export function node (...args: string[]): [file: string, args: string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', process.execPath, ...args]]
}

/**
 * The same for a file of this repository, as JavaScript: with a hook for TypeScript Node.js takes twice as long to load what
 * it imports. Stacks show the lines of the source.
 */
export const program = (file: string, ...args: string[]) => made(file, '.js', args)

/** The same for one that `transpile.js` made a single file of, with all that it imports. */
export const bundle = (file: string, ...args: string[]) => made(file, '.bundle.js', args)

function made (file: string, extension: string, args: string[]): [file: string, args: string[]] {
  // Here, once: many processes that start together would each load the compiler.
  // test/run.js has done it for all.
  if (!transpiled && !process.env.TAP_TRANSPILED) execFileSync(...node(join(import.meta.dirname, 'transpile-all.js')))
  transpiled = true
  return node('--enable-source-maps', join(ROOT, '.tap', 'transpiled', relative(ROOT, file).replace(/\.ts$/, extension)), ...args)
}

/** Nothing of the test's environment but where programs are. */
export const bareEnv = (env: Record<string, string> = {}) => ({ PATH: process.env.PATH, ...env })
