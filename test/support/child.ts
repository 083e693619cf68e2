import { execFileSync } from 'node:child_process'
import { join, relative } from 'node:path'

const ROOT = join(import.meta.dirname, '..', '..')
/** Those that test/run.js made, and those that this process did. */
const made = new Set(process.env.TESTS_BUNDLED?.split(','))

/**
 * The command line of Node.js for a process of its own. tap puts a loader into every process that a test starts, which
 * costs half a second of CPU and counts other lines of lib: `env` takes it out again.
 */
export function node (...args: string[]): [file: string, args: string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', process.execPath, ...args]]
}

/**
 * The same for a file of this repository, as `bundle.js` made it. Where the test shows the lines of the source, so do the
 * stacks of this one.
 */
export function program (file: string, ...args: string[]): [file: string, args: string[]] {
  const name = relative(ROOT, file).slice(0, -'.ts'.length)
  // Here: many processes that start together would each load the compiler.
  if (!made.has(name)) execFileSync(...node(join(import.meta.dirname, 'bundle-program.js'), name))
  made.add(name)
  return node(...process.execArgv.filter((arg) => arg === '--enable-source-maps'), join(ROOT, '.tap', 'bundled', `${name}.js`), ...args)
}

/** Nothing of the test's environment but where programs are. */
export const bareEnv = (env: Record<string, string> = {}) => ({ PATH: process.env.PATH, ...env })
